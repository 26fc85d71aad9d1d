package diffusion

import (
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// shapes are calls of networks with what shared/data/diffusion/arch/summary.csv has for
// them: figures calculated layer by layer from the public configurations by the authors of
// that table, and published counts of parameters where there are any.
var shapes = []struct {
	network, row              string
	call                      Call
	params                    int64
	kernels                   int
	total, conv, lin, attends float64 // 10^9 multiply-adds
	moved                     float64 // 10^9 bytes
}{
	{"sd15_unet", "sd15_unet_512x512_1image_2pass", Call{}, 859520964, 644, 803.3, 418.4, 258.9, 126.1, 6.6},
	{"sd21_unet", "sd21_unet_768x768_1image_2pass", Call{}, 865910724, 644, 2149.1, 941.3, 579.7, 628.1, 12.75},
	{"sdxl_unet", "sdxl_unet_1024x1024_1image_2pass", Call{}, 2567463684, 1646, 6761.2, 1623.1, 4354.2, 783.9, 39.68},
	{"vae_kl_f8_decoder", "vae_kl_f8_decoder_512x512_1image", Call{}, 49490199, 132, 1257.3, 1235.8, 4.3, 17.2, 8.37},
	{"vae_kl_f8_decoder", "vae_kl_f8_decoder_1024x1024_1image", Call{Height: 1024, Width: 1024}, 49490199, 132, 5235.2, 4943.1, 17.2, 274.9, 33.19},
	{"vae_kl_f8_encoder", "vae_kl_f8_encoder_512x512_1image", Call{}, 34163664, 97, 558.3, 536.9, 4.3, 17.2, 4.6},
	{"animatediff_unet", "animatediff_unet_512x512_16frames_2pass", Call{}, 1312730244, 1169, 17748.9, 6693.8, 9013.8, 2041.3, 145.8},
	{"animatediff_unet", "animatediff_unet_1024x576_16frames_2pass", Call{Width: 1024, Height: 576}, 1312730244, 1169, 45387.2, 15061.0, 20221.0, 10105.3, 324.38},
	{"svd_unet", "svd_unet_512x512_14frames_2pass", Call{Width: 512, Height: 512}, 1524623082, 1459, 17771.0, 7038.7, 9007.1, 1725.3, 165.78},
	{"svd_unet", "svd_unet_1024x576_14frames_2pass", Call{}, 1524623082, 1459, 44801.8, 15837.0, 20259.8, 8705.1, 369.58},
	{"svd_xt_unet", "svd_unet_1024x576_25frames_2pass", Call{}, 1524623082, 1459, 79948.2, 28280.3, 36094.5, 15573.4, 657.1},
	{"svd_temporal_decoder", "svd_temporal_decoder_1024x576_14frames", Call{}, 63579183, 286, 48600.8, 47247.9, 135.3, 1217.6, 554.79},
	{"svd_temporal_decoder", "svd_temporal_decoder_1024x576_25frames", Call{Frames: 25}, 63579183, 286, 86787.1, 84371.2, 241.6, 2174.3, 990.59},
}

func TestWorkAgreesWithPublishedShapes(t *testing.T) {
	for _, s := range shapes {
		g := graphOf(t, s.network, s.call)
		if g.Params() != s.params || g.Weights != 2*s.params {
			t.Errorf("%s: %d parameters in %d bytes, want %d", s.row, g.Params(), g.Weights, s.params)
		}
		by, moved, kernels := [numKind]float64{}, 0.0, 0
		for i := range g.Ops {
			if !leftOut(&g.Ops[i]) {
				kernels += g.Ops[i].Kernels
				by[g.Ops[i].Kind] += float64(g.Ops[i].MACs) / 1e9
				moved += float64(g.Ops[i].Moved) / 1e9
			}
		}
		if kernels != s.kernels {
			t.Errorf("%s: %d kernels beside those that the table leaves out, want %d", s.row, kernels, s.kernels)
		}
		near(t, s.row+" multiply-adds", float64(g.MACs())/1e9, s.total, 1e-4, 0.05)
		near(t, s.row+" convolution", by[Conv]+by[ConvTemporal], s.conv, 1e-4, 0.05)
		near(t, s.row+" linear", by[Linear], s.lin, 1e-4, 0.05)
		near(t, s.row+" attention", by[Attention], s.attends, 1e-4, 0.05)
		near(t, s.row+" bytes", moved, s.moved, 0.01, 0.005)
	}
}

// leftOut says whether the tables leave an operator out that an eager run has: the copies
// that bring the frames of a clip beside each other and back, the sums with the embedding
// of frames in motion modules, and the encoder's padding.
func leftOut(op *Op) bool {
	switch op.Name[strings.LastIndex(op.Name, "/")+1:] {
	case "by_position", "by_frame", "pos_embed1", "pos_embed2", "pad":
		return true
	}
	return false
}

func graphOf(t testing.TB, network string, c Call) *Graph {
	t.Helper()
	n, err := Load(network)
	if err != nil {
		t.Fatal(err)
	}
	g, err := n.Graph(c)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// near allows a relative error and the rounding of the printed figure.
func near(t *testing.T, what string, got, want, relative, rounding float64) {
	t.Helper()
	if math.Abs(got-want) > relative*want+rounding {
		t.Errorf("%s: %.6g, want %.6g", what, got, want)
	}
}

// TestOperatorsAgreeWithTheLayerTables compares operator by operator. It needs the layer
// tables, which the project does not hold.
func TestOperatorsAgreeWithTheLayerTables(t *testing.T) {
	folder := filepath.Join("..", "..", "..", "shared", "data", "diffusion", "arch", "layers")
	if _, err := os.Stat(folder); err != nil {
		t.Skipf("the layer tables are not there: %v", err)
	}
	for _, s := range shapes {
		t.Run(s.row, func(t *testing.T) {
			rows := readLayers(t, filepath.Join(folder, s.row+".csv"))
			g := graphOf(t, s.network, s.call)
			i := 0
			for k := range g.Ops {
				op := &g.Ops[k]
				if leftOut(op) {
					continue
				}
				if i == len(rows) {
					t.Fatalf("%s comes after the table's last row", op.Name)
				}
				compareRow(t, op, rows[i])
				i++
			}
			if i != len(rows) {
				t.Errorf("%d operators, the table has %d", i, len(rows))
			}
		})
	}
}

type layerRow struct {
	line  int
	value map[string]string
}

func (r layerRow) int(t *testing.T, column string) int64 {
	t.Helper()
	if r.value[column] == "" {
		return 0
	}
	n, err := strconv.ParseInt(r.value[column], 10, 64)
	if err != nil {
		t.Fatalf("line %d: %v", r.line, err)
	}
	return n
}

func readLayers(t *testing.T, file string) []layerRow {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows []layerRow
	for i, r := range records[1:] {
		row := layerRow{i + 2, map[string]string{}}
		for j, name := range records[0] {
			row.value[name] = r[j]
		}
		rows = append(rows, row)
	}
	return rows
}

// compareRow holds an operator against a row. Rows without bytes are embeddings, of which
// the table counts neither bytes nor, in part, work.
func compareRow(t *testing.T, op *Op, r layerRow) {
	t.Helper()
	if op.Name != r.value["op"] || op.Kind.String() != r.value["kind"] {
		t.Fatalf("line %d: %s %s, the table has %s %s", r.line, op.Kind, op.Name, r.value["kind"], r.value["op"])
	}
	if want := r.int(t, "params"); op.Params != want {
		t.Errorf("line %d: %s has %d parameters, want %d", r.line, op.Name, op.Params, want)
	}
	bytes := r.int(t, "bytes_read") + r.int(t, "bytes_written")
	if bytes == 0 {
		return
	}
	if want := r.int(t, "macs"); op.MACs != want {
		t.Errorf("line %d: %s has %d multiply-adds, want %d", r.line, op.Name, op.MACs, want)
	}
	// The tables leave out the scales and shifts of norms and what is broadcast in sums.
	small := 4*op.Params + bytes/50 + 1
	if op.Kind != GroupNorm && op.Kind != LayerNorm && !strings.Contains(op.Name, "add_") {
		small = 0
	}
	if c := op.Conv; op.Kind == Conv && c.StrideH == 2 && c.PadH == 0 {
		small = int64(c.N*c.Cin) * 2 * int64(c.H+c.W-1) // a row and a column of padding
	}
	if d := op.Moved - bytes; d < 0 || d > small {
		t.Errorf("line %d: %s moves %d bytes, want %d", r.line, op.Name, op.Moved, bytes)
	}
	if op.Kind == Attention {
		got := [...]int64{op.Attend.Groups, op.Attend.Heads, op.Attend.Queries, op.Attend.Keys, op.Attend.Dim}
		for i, column := range []string{"groups", "heads", "len_q", "len_kv", "head_dim"} {
			if want := r.int(t, column); got[i] != want {
				t.Errorf("line %d: %s has %s %d, want %d", r.line, op.Name, column, got[i], want)
			}
		}
	}
	if op.Kind == Linear && r.value["gemm_m"] != "" {
		got := [...]int64{op.Linear.M, op.Linear.K, op.Linear.N}
		for i, column := range []string{"gemm_m", "gemm_k", "gemm_n"} {
			if want := r.int(t, column); got[i] != want {
				t.Errorf("line %d: %s has %s %d, want %d", r.line, op.Name, column, got[i], want)
			}
		}
	}
}
