package hwmodel

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// vidurFolder writes a small profile in Vidur's own format: a model of 4 layers on
// two devices, tokens measured at 8, 16 and 512.
func vidurFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"mlp.csv": `n_head,n_kv_head,n_embd,n_expanded_embd,use_gated_mlp,vocab_size,num_tensor_parallel_workers,num_tokens,time_stats.attn_pre_proj.median,time_stats.attn_post_proj.median,time_stats.mlp_up_proj.median,time_stats.mlp_down_proj.median,time_stats.mlp_act.median,time_stats.input_layernorm.median,time_stats.post_attention_layernorm.median,time_stats.attn_rope.median,time_stats.add.median
32,8,4096,14336,True,32000,2,8,0.020,0.015,0.060,0.040,0.005,0.007,0.006,0.003,0.002
32,8,4096,14336,True,32000,2,16,0.021,0.016,0.062,0.041,0.005,0.007,0.006,0.003,0.002
32,8,4096,14336,True,32000,2,512,0.100,0.080,0.350,0.180,0.020,0.012,0.011,0.009,0.008
32,8,4096,14336,True,32000,1,8,9,9,9,9,9,9,9,9,9
`,
		"attention.csv": `n_embd,n_q_head,n_kv_head,block_size,num_tensor_parallel_workers,batch_size,prefill_chunk_size,kv_cache_size,time_stats.attn_kv_cache_save.median,time_stats.attn_prefill.median,time_stats.attn_decode.median
4096,32,8,16,2,1,0,128,0.004,,0.010
4096,32,8,16,2,3,0,128,0.004,,0.017
4096,32,8,16,2,3,0,192,0.004,,0.020
4096,32,8,16,2,1,300,64,0.009,0.050,
4096,32,8,16,2,1,500,0,0.010,0.090,
4096,32,8,16,2,1,500,64,0.010,0.110,
4096,32,8,16,2,1,503,64,0.011,0.110,
4096,32,8,16,2,1,510,128,0.012,0.200,
4096,32,8,32,2,1,510,128,9,9,
`,
		"all_reduce.csv": `collective,devices_per_node,num_workers,size,time_stats.all_reduce.median
all_reduce,2,2,65536,0.030
all_reduce,2,2,131072,0.031
all_reduce,2,2,4194304,0.150
all_reduce,4,4,65536,9
`,
		"send_recv.csv": `collective,devices_per_node,num_workers,size,time_stats.send_recv.median
send_recv,2,2,65536,0.040
send_recv,2,2,4194304,0.400
send_recv,1,2,65536,9
`,
		"cpu_overheads.csv": `model_name,tensor_parallel_degree,batch_size,schedule_median,sampler_e2e_median,prepare_inputs_e2e_median,process_model_outputs_median,ray_comm_time_mean
m,2,1,0.1,0.5,0.3,0.2,2.0
m,2,4,0.2,0.6,0.4,0.5,2.3
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func vidurShape() VidurShape {
	return VidurShape{
		Model: "m", Layers: 4, Hidden: 4096, Intermediate: 14336, QueryHeads: 32, KVHeads: 8, Vocab: 32000,
		Gated: true, PostNorm: true, Block: 16, Tensor: 2, Pipeline: 2,
	}
}

// Test of the composition, to the microsecond, worked out by hand.
func TestVidurProfileIsReplayedExactly(t *testing.T) {
	c, err := LoadVidur(vidurFolder(t), vidurShape())
	if err != nil {
		t.Fatal(err)
	}
	// Three decodes with contexts 100, 129 and 160: 3 tokens, padded to 8; mean
	// 389/3 = 129.67, truncated to 129, rounded up to 192. Grouped queries and more
	// than one sequence: x 1.1. Tokens at 8: 0.020+0.015+0.060+0.040+0.005+0.007+
	// 0.006+0.003+0.002 = 0.158. Save at 3, between 0.004 at 1 and 0.004 at 3: 0.004.
	// Decode 0.020 x 1.1 = 0.022. All-reduce 2 x (0.030+0.02) = 0.100. Sum 0.284 ms a
	// layer, 2 layers a stage: 0.568 ms.
	decode := Batch{Decodes: 3, DecodeContext: 389}
	one := Batch{Decodes: 1, DecodeContext: 128}
	one.AddChunk(500, 33) // 33 rounded up to 64: 0.110, one chunk, no factor
	// 501 tokens padded to 504, 8 short of 512: tokens at 16 + (504-16)/(512-16) of
	// the way. At 16 the operators add up to 0.021+0.016+0.062+0.041+0.005+0.007+0.006+
	// 0.003+0.002 = 0.163, at 512 to 0.770; 0.163+0.607*488/496 = 0.760209677. Save at
	// 501, between 0.010 at 500 and 0.011 at 503: 0.010333333. Decode 0.010, prefill
	// 0.110. All-reduce 0.031+(0.150-0.031)*488/496 = 0.148080645, 2 x 0.168080645 =
	// 0.336161290. Sum 1.226704301 ms a layer, 2.453408602 ms a stage.
	two := Batch{}
	two.AddChunk(300, 64)
	two.AddChunk(199, 1) // sqrt(90000+39601) = 360.0014, rounded 360; cached 128
	for _, x := range []struct {
		name  string
		batch Batch
		want  time.Duration
	}{
		{"decodes", decode, 568_000},
		{"a chunk and a decode", one, 2_453_409},
	} {
		if got := c.Stage(0, &x.batch); got != x.want {
			t.Errorf("%s: %v, want %v", x.name, got, x.want)
		}
	}
	if err := c.Err(); err != nil {
		t.Fatalf("inside the tables: %v", err)
	}
	// Send at 8 tokens 0.040 ms. Host of 3 sequences: two thirds from 3.1 to 4.0 ms.
	if got := c.Send(&decode); got != 40_000 {
		t.Errorf("send takes %v, want 40us", got)
	}
	if got, overlapped := c.Host(&decode); got != 3_700_000 || overlapped {
		t.Errorf("host takes %v (overlapped %v), want 3.7ms, not overlapped", got, overlapped)
	}
	// Two chunks look up (128 cached, 360), but 128 was measured at 510 alone: an
	// error that names the table and what it covers.
	c.Stage(0, &two)
	if err := c.Err(); err == nil || !strings.Contains(err.Error(), "attn_prefill has no entry for 128 cached tokens and 360 tokens of chunk") {
		t.Errorf("outside the table the error is %v", err)
	}
}

// Two chunks of a model with grouped queries cost 1.1 times the table, at the root
// of the sum of squares.
func TestVidurPrefillOfSeveralChunks(t *testing.T) {
	c, err := LoadVidur(vidurFolder(t), vidurShape())
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	b.AddChunk(400, 64) // sqrt(160000+90000) = 500; cached 64+0
	b.AddChunk(300, 0)
	b.ChunkTokens = 8 // keeps the token-level look-ups simple: 0.158, save at 8, reduce 0.100
	// Save at 8: 0.004+(0.009-0.004)*(8-3)/(300-3) = 0.004084175. Prefill at (64, 500)
	// 0.110 x 1.1 = 0.121. Sum 0.383084175, 2 layers: 0.766168 ms.
	if got, want := c.Stage(0, &b), time.Duration(766_168); got != want || c.Err() != nil {
		t.Errorf("stage takes %v (%v), want %v", got, c.Err(), want)
	}
}

// Beyond a table is an error, or on request a flagged extrapolation along the last
// two entries.
func TestBeyondATable(t *testing.T) {
	strict, err := LoadVidur(vidurFolder(t), vidurShape())
	if err != nil {
		t.Fatal(err)
	}
	loose, err := LoadVidur(vidurFolder(t), vidurShape())
	if err != nil {
		t.Fatal(err)
	}
	loose.Extrapolate = true
	b := Batch{Decodes: 3, DecodeContext: 3 * 256}
	at256 := strict.Stage(0, &b)
	if err := strict.Err(); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("error is %v, want one line", err)
	}
	// From 0.017 at 128 and 0.020 at 192 to 0.023 at 256; 0.003 more a layer, x 1.1.
	if got, want := loose.Stage(0, &b)-at256, time.Duration(2*3300); got != want {
		t.Errorf("extrapolation adds %v, want %v", got, want)
	}
	if loose.Err() != nil || loose.Extrapolated() != 1 {
		t.Errorf("error %v and %d look-ups extrapolated, want none and 1", loose.Err(), loose.Extrapolated())
	}
	loose.Stage(0, &b)
	if loose.Extrapolated() != 2 {
		t.Errorf("%d look-ups extrapolated after the second, want 2", loose.Extrapolated())
	}
}

func TestBadVidurFolders(t *testing.T) {
	for _, c := range []struct {
		file, old, new string
		change         func(s *VidurShape)
		want           string
	}{
		{want: "no row for hidden 5120", change: func(s *VidurShape) { s.Hidden = 5120 }},
		{want: "no row for model \"other\"", change: func(s *VidurShape) { s.Model = "other" }},
		{file: "mlp.csv", old: "0.350", new: "fast", want: `mlp.csv:4: time_stats.mlp_up_proj.median is "fast"`},
		{file: "mlp.csv", old: "0.350", new: "-1", want: "must be a number of 0 or more"},
		{file: "mlp.csv", old: "0.350", new: "NaN", want: "must be a number of 0 or more"},
		{file: "attention.csv", old: "batch_size", new: "batches", want: `attention.csv:1: column "batch_size" is missing`},
		{file: "all_reduce.csv", old: "\n", new: ",\n", want: "all_reduce.csv"},
	} {
		dir, s := vidurFolder(t), vidurShape()
		if c.change != nil {
			c.change(&s)
		}
		if c.file != "" {
			path := filepath.Join(dir, c.file)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(strings.Replace(string(text), c.old, c.new, 1)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		_, err := LoadVidur(dir, s)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error is %v, want %q", err, c.want)
		}
	}
	if _, err := LoadVidur(t.TempDir(), vidurShape()); err == nil {
		t.Error("an empty folder is read without error")
	}
}
