package hwmodel

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// VidurShape picks the rows of a folder of Vidur profiles that belong to one model
// and its parallel degrees.
type VidurShape struct {
	Model        string // as in cpu_overheads.csv; empty to leave host time out
	Layers       int    // of the whole model
	Hidden       int
	Intermediate int
	QueryHeads   int // of the whole model
	KVHeads      int
	Vocab        int
	Gated        bool
	PostNorm     bool // a second norm before the MLP
	Block        int  // tokens of a KV block
	Tensor       int
	Pipeline     int
	AcrossNodes  bool // pipeline stages lie on different nodes
}

// LoadVidur reads a folder of Vidur profiles: mlp.csv and attention.csv, also
// all_reduce.csv with tensor and send_recv.csv with pipeline parallelism, and
// cpu_overheads.csv if the shape names a model. These are the files that Vidur
// keeps by device, model and network, put together, with its column names. Times are
// medians, as Vidur takes them.
func LoadVidur(dir string, s VidurShape) (*Tables, error) {
	s.Tensor, s.Pipeline = max(1, s.Tensor), max(1, s.Pipeline)
	t := &Tables{
		Layers: s.Layers / s.Pipeline, PipelineStages: s.Pipeline, Tensor: s.Tensor, Grouped: s.QueryHeads > s.KVHeads,
	}
	steps := []func(string, *VidurShape) error{t.vidurCompute, t.vidurAttention}
	if s.Tensor > 1 {
		steps = append(steps, t.vidurAllReduce)
	}
	if s.Pipeline > 1 {
		steps = append(steps, t.vidurSend)
	}
	if s.Model != "" {
		steps = append(steps, t.vidurHost)
	}
	for _, step := range steps {
		if err := step(dir, &s); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// vidurCompute reads the token-level operators.
func (t *Tables) vidurCompute(dir string, s *VidurShape) error {
	names := []string{"input_layernorm", "attn_pre_proj", "attn_rope", "attn_post_proj", "mlp_up_proj", "mlp_act", "mlp_down_proj", "add"}
	if s.PostNorm {
		names = append(names, "post_attention_layernorm")
	}
	points := make([]map[float64][]float64, len(names))
	for i := range points {
		points[i] = map[float64][]float64{}
	}
	// A profile without norms or addition leaves these columns out.
	optional := []string{"time_stats.input_layernorm.median", "time_stats.post_attention_layernorm.median", "time_stats.add.median"}
	required := []string{"n_head", "n_kv_head", "n_embd", "n_expanded_embd", "use_gated_mlp", "vocab_size", "num_tensor_parallel_workers", "num_tokens"}
	for _, n := range names {
		if c := "time_stats." + n + ".median"; !slices.Contains(optional, c) {
			required = append(required, c)
		}
	}
	rows, err := readVidur(filepath.Join(dir, "mlp.csv"), required, func(r *vidurRow) bool {
		return r.is("n_head", s.QueryHeads) && r.is("n_kv_head", s.KVHeads) && r.is("n_embd", s.Hidden) &&
			r.is("n_expanded_embd", s.Intermediate) && r.is("vocab_size", s.Vocab) && r.is("num_tensor_parallel_workers", s.Tensor) &&
			strings.EqualFold(r.text("use_gated_mlp"), strconv.FormatBool(s.Gated))
	}, func(r *vidurRow) {
		x := r.number("num_tokens")
		for i, n := range names {
			points[i][x] = append(points[i][x], r.number("time_stats."+n+".median"))
		}
	})
	if err != nil {
		return err
	}
	if rows == 0 {
		return fmt.Errorf("%s: no row for hidden %d, %d and %d heads, tensor-parallel degree %d", filepath.Join(dir, "mlp.csv"), s.Hidden, s.QueryHeads, s.KVHeads, s.Tensor)
	}
	for i, n := range names {
		t.Token = append(t.Token, NewCurve(n, "tokens", points[i]))
	}
	return nil
}

// vidurAttention reads prefill and decode attention and the copy into the KV
// cache. A row with a chunk size of 0 is a decode.
func (t *Tables) vidurAttention(dir string, s *VidurShape) error {
	save := map[float64][]float64{}
	decode, prefill := map[[2]float64][]float64{}, map[[2]float64][]float64{}
	const saved = "time_stats.attn_kv_cache_save.median"
	hasSave := false
	rows, err := readVidur(filepath.Join(dir, "attention.csv"), []string{
		"n_embd", "n_q_head", "n_kv_head", "block_size", "num_tensor_parallel_workers", "batch_size", "prefill_chunk_size", "kv_cache_size",
		"time_stats.attn_prefill.median", "time_stats.attn_decode.median",
	}, func(r *vidurRow) bool {
		return r.is("n_embd", s.Hidden) && r.is("n_q_head", s.QueryHeads) && r.is("n_kv_head", s.KVHeads) &&
			r.is("block_size", s.Block) && r.is("num_tensor_parallel_workers", s.Tensor)
	}, func(r *vidurRow) {
		batch, chunk, context := r.number("batch_size"), r.number("prefill_chunk_size"), r.number("kv_cache_size")
		if r.has(saved) {
			hasSave = true
			save[max(batch, chunk)] = append(save[max(batch, chunk)], r.number(saved))
		}
		if chunk == 0 {
			k := [2]float64{batch, context}
			decode[k] = append(decode[k], r.number("time_stats.attn_decode.median"))
		} else {
			k := [2]float64{context, chunk}
			prefill[k] = append(prefill[k], r.number("time_stats.attn_prefill.median"))
		}
	})
	if err != nil {
		return err
	}
	if rows == 0 {
		return fmt.Errorf("%s: no row for hidden %d, %d and %d heads, blocks of %d, tensor-parallel degree %d", filepath.Join(dir, "attention.csv"), s.Hidden, s.QueryHeads, s.KVHeads, s.Block, s.Tensor)
	}
	t.Decode = NewSurface("attn_decode", [2]string{"sequences", "tokens of mean context"}, decode)
	t.Prefill = NewSurface("attn_prefill", [2]string{"cached tokens", "tokens of chunk"}, prefill)
	if hasSave {
		t.Save = NewCurve("attn_kv_cache_save", "tokens", save)
	}
	return nil
}

// vidurAllReduce reads the all-reduce within a node.
func (t *Tables) vidurAllReduce(dir string, s *VidurShape) (err error) {
	t.AllReduce, err = vidurTransfer(dir, "all_reduce", s.Hidden, func(r *vidurRow) bool {
		return r.is("num_workers", s.Tensor) && r.is("devices_per_node", s.Tensor)
	})
	return err
}

// vidurSend reads the transfer between two stages.
func (t *Tables) vidurSend(dir string, s *VidurShape) (err error) {
	perNode := 2
	if s.AcrossNodes {
		perNode = 1
	}
	t.SendRecv, err = vidurTransfer(dir, "send_recv", s.Hidden, func(r *vidurRow) bool { return r.is("devices_per_node", perNode) })
	return err
}

// vidurTransfer reads a collective by tokens of 16-bit activations.
func vidurTransfer(dir, name string, hidden int, keep func(r *vidurRow) bool) (Curve, error) {
	points := map[float64][]float64{}
	file, column := filepath.Join(dir, name+".csv"), "time_stats."+name+".median"
	rows, err := readVidur(file, []string{"collective", "devices_per_node", "num_workers", "size", column}, func(r *vidurRow) bool {
		return r.text("collective") == name && keep(r)
	}, func(r *vidurRow) {
		x := r.number("size") / float64(hidden) / 2
		points[x] = append(points[x], r.number(column))
	})
	if err == nil && rows == 0 {
		err = fmt.Errorf("%s: no row of this number of devices and nodes", file)
	}
	return NewCurve(name, "tokens", points), err
}

// vidurHost reads the parts of the host's time.
func (t *Tables) vidurHost(dir string, s *VidurShape) error {
	parts := []string{"schedule_median", "sampler_e2e_median", "prepare_inputs_e2e_median", "process_model_outputs_median", "ray_comm_time_mean"}
	points := make([]map[float64][]float64, len(parts))
	for i := range points {
		points[i] = map[float64][]float64{}
	}
	file := filepath.Join(dir, "cpu_overheads.csv")
	rows, err := readVidur(file, append([]string{"model_name", "tensor_parallel_degree", "batch_size"}, parts...), func(r *vidurRow) bool {
		return r.text("model_name") == s.Model && r.is("tensor_parallel_degree", s.Tensor)
	}, func(r *vidurRow) {
		for i, p := range parts {
			x := r.number("batch_size")
			points[i][x] = append(points[i][x], r.number(p))
		}
	})
	if err != nil {
		return err
	}
	if rows == 0 {
		return fmt.Errorf("%s: no row for model %q at tensor-parallel degree %d", file, s.Model, s.Tensor)
	}
	for i, p := range parts {
		t.HostParts = append(t.HostParts, NewCurve(p, "sequences", points[i]))
	}
	return nil
}

// vidurRow is one line of a profile. The first field that is no number is kept as
// an error.
type vidurRow struct {
	file   string
	line   int
	column map[string]int
	fields []string
	err    error
}

func (r *vidurRow) has(column string) bool {
	i, ok := r.column[column]
	return ok && r.fields[i] != ""
}

func (r *vidurRow) text(column string) string {
	if i, ok := r.column[column]; ok {
		return r.fields[i]
	}
	return ""
}

// number returns the field as a number, 0 if it or its column is empty or missing,
// as Vidur fills them in.
func (r *vidurRow) number(column string) float64 {
	s := r.text(column)
	if s == "" {
		return 0
	}
	v, err := strconv.ParseFloat(s, 64)
	if (err != nil || !(v >= 0)) && r.err == nil {
		r.err = fmt.Errorf("%s:%d: %s is %q, must be a number of 0 or more", r.file, r.line, column, s)
	}
	return v
}

func (r *vidurRow) is(column string, want int) bool { return r.number(column) == float64(want) }

// readVidur calls use for each line of a profile that keep accepts, once for lines
// that are repeated, and returns how many there were.
func readVidur(file string, columns []string, keep func(r *vidurRow) bool, use func(r *vidurRow)) (int, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	in := csv.NewReader(f)
	head, err := in.Read()
	if err != nil {
		return 0, fmt.Errorf("%s: has no header line: %w", file, err)
	}
	r := vidurRow{file: file, line: 1, column: map[string]int{}}
	for i, h := range head {
		r.column[h] = i
	}
	for _, c := range columns {
		if _, ok := r.column[c]; !ok {
			return 0, fmt.Errorf("%s:1: column %q is missing", file, c)
		}
	}
	seen, n := map[string]bool{}, 0
	for {
		r.fields, err = in.Read()
		if errors.Is(err, io.EOF) {
			return n, r.err
		}
		if err != nil {
			return n, fmt.Errorf("%s: %w", file, err)
		}
		r.line++
		if key := strings.Join(r.fields, ","); !seen[key] {
			seen[key] = true
			if keep(&r) {
				use(&r)
				n++
			}
		}
		if r.err != nil {
			return n, r.err
		}
	}
}
