package scenarios

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A folder of Vidur profiles prices a run: times by hand, then beyond the tables.
func TestTablesByHand(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"mlp.csv": `n_head,n_kv_head,n_embd,n_expanded_embd,use_gated_mlp,vocab_size,num_tensor_parallel_workers,num_tokens,time_stats.attn_pre_proj.median,time_stats.attn_post_proj.median,time_stats.mlp_up_proj.median,time_stats.mlp_down_proj.median,time_stats.mlp_act.median,time_stats.input_layernorm.median,time_stats.post_attention_layernorm.median,time_stats.attn_rope.median,time_stats.add.median
32,8,4096,14336,True,32000,1,8,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1
32,8,4096,14336,True,32000,1,16,0.2,0.2,0.2,0.2,0.2,0.2,0.2,0.2,0.2
`,
		"attention.csv": `n_embd,n_q_head,n_kv_head,block_size,num_tensor_parallel_workers,batch_size,prefill_chunk_size,kv_cache_size,time_stats.attn_prefill.median,time_stats.attn_decode.median
4096,32,8,16,1,1,8,0,0.3,
4096,32,8,16,1,1,0,64,,0.2
4096,32,8,16,1,1,0,128,,0.4
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Parse(filepath.Join(dir, "s.toml"), []byte(`
[model]
name = "mistral-7b"
[hardware]
kv_blocks = 10000
[cost]
kind = "tables"
folder = "."
[traffic]
arrivals = "constant"
rate = 0.1
lengths = "fixed"
prompt = 8
output = 2
requests = 3
`))
	if err != nil {
		t.Fatal(err)
	}
	r, out, err := Run(context.Background(), s, 1, Options{})
	if err != nil {
		t.Fatal(err)
	}
	// 32 layers of nine operators of 0.1 ms, and 0.3 ms of prefill or 0.2 ms of decode
	// attention. The last request comes at 30 s.
	if got := float64(r.Latency.TTFT.MeanS); !near(got, 32*1.2e-3) {
		t.Errorf("TTFT %v s", got)
	}
	if got, want := out.End.Seconds(), 30+32*(1.2e-3+1.1e-3); got != want {
		t.Errorf("ended at %v s; want %v", got, want)
	}

	long, err := s.With("traffic.output=300")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err = Run(context.Background(), long, 1, Options{}); err == nil || !strings.Contains(err.Error(), "attn_decode has no entry for 1 sequences and 192 tokens") {
		t.Errorf("beyond the table: %v", err)
	}
	if long, err = long.With("cost.extrapolate=true"); err != nil {
		t.Fatal(err)
	}
	if r, _, err = Run(context.Background(), long, 1, Options{}); err != nil || !strings.Contains(strings.Join(r.Flags, "\n"), "beyond the measured tables") {
		t.Errorf("extrapolated: %v, flags %q", err, r.Flags)
	}
}
