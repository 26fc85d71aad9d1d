package calibrate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const servingHeader = "gpu,backend,backend_version,model,precision,isl,osl,tp_size,pp_size,attention_dp_size,moe_tp_size,moe_ep_size,concurrency,ttft_ms,tpot_ms,measured,origin\n"

func servingFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f.csv")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// What a row says of devices, precision and engine is what the simulation gets.
func TestServingRows(t *testing.T) {
	rows, err := ReadServing(servingFile(t, servingHeader+
		"h100_sxm,trtllm,1.0.0rc3,Qwen/Qwen3-235B-A22B-FP8,fp8,512,128,4,1,,1,4,64,233.0,26.1,2025-10-01,nvidia-aic\n"+
		"h100_sxm,vllm,0.18.0,openai/gpt-oss-120b,fp4,1024,1024,2,1,1.0,2,1,4.0,59,5.0,2026-04-01,inferencex\n"+
		"h100_sxm,vllm,0.12.0,Qwen/Qwen3-32B,,1024,128,2,1,,1,1,16.0,188,22.2,2025-12-01,nvidia-aic\n"+
		"gb300,vllm,0.15.1,nobody/nothing,fp4,1024,128,2,1,,1,1,,188,22.2,2025-12-01,nvidia-aic\n"))
	if err != nil {
		t.Fatal(err)
	}
	if w := rows[0]; w.Device != "h100-sxm-80gb" || w.Decode != (Workers{1, 4, 1, 4, 1}) || w.Model.WeightBytes != 1 || w.Model.KVBytes != 1 || w.Engine() != "trtllm" || w.Clients != 64 || w.TTFT != 0.233 {
		t.Errorf("the first row is %+v of %+v", w, w.Model)
	}
	if w := rows[1]; w.Model.WeightBytes != 2 || w.Model.ExpertBits != 4.25 || w.Engine() != "vllm-v1-async" {
		t.Errorf("gpt-oss-120b is served by %s as %+v", w.Engine(), w.Model)
	}
	if w := rows[2]; w.Engine() != "vllm-v1" || w.Model.WeightBytes != 2 || w.Together() {
		t.Errorf("the third row is served by %s as %+v", w.Engine(), w.Model)
	}
	if w := rows[3]; w.Device != "" || w.Model != nil || w.Clients != 0 || w.Engine() != "vllm-v1-async" {
		t.Errorf("the last row is %+v", w)
	}
}

// Rows of prompts and answers on workers of their own have both.
func TestServingRowsOfSeparateWorkers(t *testing.T) {
	rows, err := ReadServing(servingFile(t, "gpu,backend,backend_version,model,precision,isl,osl,concurrency,prefill_batch_size,prefill_num_workers,prefill_tp_size,prefill_attention_dp_size,prefill_moe_ep_size,decode_batch_size,decode_num_workers,decode_tp_size,decode_attention_dp_size,decode_moe_ep_size,ttft_ms,tpot_ms,measured,origin\n"+
		"h100_sxm,vllm,0.12.0,Qwen/Qwen3-32B,fp8,4000,500,12,1,4,1,1,1,32,1,4,2,1,300,10,2026-01-23,nvidia-aic\n"))
	if err != nil {
		t.Fatal(err)
	}
	if w := rows[0]; !w.Apart || w.Prefill != (Workers{4, 1, 1, 1, 1}) || w.Decode != (Workers{1, 4, 2, 1, 1}) {
		t.Errorf("workers are %+v and %+v", w.Prefill, w.Decode)
	}
}

func TestServingRowsAreRefused(t *testing.T) {
	const good = "h100_sxm,vllm,0.12.0,Qwen/Qwen3-32B,,1024,128,2,1,,1,1,16,188,22.2,2025-12-01,nvidia-aic\n"
	for _, x := range []struct{ old, new, want string }{
		{",22.2,", ",fast,", `f.csv:2: tpot_ms is "fast", not a number`},
		{",188,", ",-1,", "f.csv:2: ttft_ms is -1 and tpot_ms 22.2; want both above 0"},
		{",1024,128,", ",0,128,", "f.csv:2: isl is 0, osl 128 and concurrency 16; want at least 1, 2 and 0"},
		{",2,1,,1,1,", ",0,1,,1,1,", "f.csv:2: a worker has no devices; want tp_size to be 1 or more"},
		{"vllm", "", "f.csv:2: gpu, backend and model must be named"},
	} {
		if _, err := ReadServing(servingFile(t, servingHeader+strings.Replace(good, x.old, x.new, 1))); err == nil || err.Error() != x.want {
			t.Errorf("%s for %s: got %v, want %s", x.new, x.old, err, x.want)
		}
	}
	if _, err := ReadServing(servingFile(t, "gpu,time\na,1\n")); err == nil || !strings.Contains(err.Error(), `no column "backend"`) {
		t.Errorf("another table: %v", err)
	}
}
