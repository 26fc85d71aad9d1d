package diffusion

import (
	"encoding/csv"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"orrery/hwmodel"
)

// measuredRow is a row of the measured runs, of which the README beside them tells the
// columns and sources.
type measuredRow map[string]string

func (r measuredRow) number(column string) float64 {
	x, err := strconv.ParseFloat(r[column], 64)
	if err != nil {
		return 0
	}
	return x
}

// measuredRows reads a file of measured runs, and skips the test where it is not.
func measuredRows(t *testing.T, name string) []measuredRow {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "..", "shared", "data", "diffusion", name))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no measured runs: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows []measuredRow
	for _, fields := range all[1:] {
		r := measuredRow{}
		for i, column := range all[0] {
			r[column] = fields[i]
		}
		rows = append(rows, r)
	}
	return rows
}

// jobOf returns a pipeline's job with a change.
func jobOf(t testing.TB, pipeline string, change func(*Job)) *Job {
	t.Helper()
	p, err := LoadPipeline(pipeline)
	if err != nil {
		t.Fatal(err)
	}
	j := p.Job()
	change(j)
	return j
}

func footprintOf(t testing.TB, j *Job) *Footprint {
	t.Helper()
	f, err := j.Footprint()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// lambdaCards are the memories, in bytes, of the cards of Lambda's benchmark. A slice of an
// H100 has its share of the memory.
var lambdaCards = map[string]struct {
	device string
	share  float64
}{
	"NVIDIA A10":                   {"a10g-24gb", 1},
	"NVIDIA A100 80GB PCIe":        {"a100-pcie-80gb", 1},
	"NVIDIA A100-PCIE-40GB":        {"a100-pcie-40gb", 1},
	"NVIDIA A100-SXM4-40GB":        {"a100-sxm-40gb", 1},
	"NVIDIA H100 PCIe":             {"h100-pcie-80gb", 1},
	"NVIDIA H100 PCIe MIG 4g.40gb": {"h100-pcie-80gb", 1. / 2},
	"NVIDIA H100 PCIe MIG 2g.20gb": {"h100-pcie-80gb", 1. / 4},
	"NVIDIA H100 PCIe MIG 1g.10gb": {"h100-pcie-80gb", 1. / 8},
	"NVIDIA RTX A6000":             {"a6000-48gb", 1},
	"Tesla V100-SXM2-16GB":         {"v100-sxm-16gb", 1},
}

// lambdaJob is a row of Lambda's benchmark: Stable Diffusion 1.4, of which images are
// decoded one at a time above batch 16, on a card with so much memory.
func lambdaJob(t *testing.T, r measuredRow) (*Job, int64) {
	t.Helper()
	card, ok := lambdaCards[r["gpu"]]
	if !ok {
		t.Fatalf("unknown card %q", r["gpu"])
	}
	p, err := hwmodel.Load(card.device)
	if err != nil {
		t.Fatal(err)
	}
	j := jobOf(t, "sd14", func(j *Job) {
		j.Batch, j.Steps, j.DType = int(r.number("batch")), int(r.number("steps")), r["dtype"]
		j.Scores = r["attention"] != "xformers"
		if j.Batch > 16 {
			j.DecodeAtOnce = 1
		}
	})
	return j, int64(float64(p.Device.Memory) * card.share)
}

// The allocator's reserved bytes at the end of a run, as Lambda's benchmark prints them, on
// cards that have room for them: fp16 with fused attention within 5 %.
func TestReservedMemoryAgreesWithLambda(t *testing.T) {
	worst := map[string]float64{}
	for _, r := range measuredRows(t, "sd_lambda.csv") {
		if r["variant"] == "OOM" || r["peak_mem_GB"] == "" {
			continue
		}
		j, memory := lambdaJob(t, r)
		f := footprintOf(t, j)
		free := follow(t, f, MemoryOptions{Outside: Outside})
		_, run, err := f.On(memory, free)
		if err != nil {
			continue // the next test's
		}
		off := float64(run.End.Reserved)/1e9/r.number("peak_mem_GB") - 1
		t.Logf("%-30s %s %-7.7s batch %3d: %6.2f, measured %6.2f, %+5.1f %%, freed %d times", r["gpu"], j.DType, r["attention"], j.Batch, float64(run.End.Reserved)/1e9, r.number("peak_mem_GB"), 100*off, run.Retries)
		if run.Retries > 0 {
			continue // what is left after freeing hangs on each request
		}
		kind := j.DType + " " + r["attention"]
		worst[kind] = max(worst[kind], math.Abs(off))
		if kind == "fp16 xformers" && j.Batch <= 16 && math.Abs(off) > 0.05 {
			t.Errorf("%s: %+.1f %%, want within 5", r["row_id"], 100*off)
		}
	}
	t.Logf("worst by kind: %v", worst)
}

// Runs that ended out of memory, and those that did not, are on the right side of the
// line, or within a tenth of it. Known to be wrong are three that completed: where attention
// scores are materialised, the emulation needs room for three matrices of scores, as half
// of the measured rows do, to the percent; the other half did with two. What decides is
// which gap a small tensor falls into that outlives the attention.
func TestOutOfMemoryAgreesWithLambda(t *testing.T) {
	known := []string{"la0142", "la0153", "la0171"}
	type setting struct {
		batch  int
		dtype  string
		scores bool
	}
	needs := map[setting]int64{}
	var wrong []string
	for _, r := range measuredRows(t, "sd_lambda.csv") {
		j, memory := lambdaJob(t, r)
		s := setting{j.Batch, j.DType, j.Scores}
		if needs[s] == 0 {
			f := footprintOf(t, j)
			needs[s] = f.Smallest(follow(t, f, MemoryOptions{Outside: Outside}))
		}
		need := needs[s]
		full := r["variant"] == "OOM"
		if full == (need > memory) {
			continue
		}
		off := float64(need)/float64(memory) - 1
		t.Logf("%s %-28s %s %-7.7s batch %3d: out of memory %v, needs %.2f of %.2f GiB, %+.1f %%", r["row_id"], r["gpu"], j.DType, r["attention"], j.Batch, full, float64(need)/(1<<30), float64(memory)/(1<<30), 100*off)
		if math.Abs(off) > 0.10 {
			wrong = append(wrong, r["row_id"])
		}
	}
	if !slices.Equal(wrong, known) {
		t.Errorf("on the wrong side by more than a tenth: %v, want %v", wrong, known)
	}
}

// baselines are the rows of Streamlined Inference's table that need no method: clips in one
// piece, and the short clips of naive slicing, of which one is in memory at a time.
var baselines = map[string]struct {
	pipeline             string
	width, height        int
	frames, decodeAtOnce int
}{
	"si0001": {"svd", 512, 512, 14, 0},
	"si0002": {"svd", 1024, 576, 14, 0},
	"si0003": {"svd", 512, 512, 2, 0},
	"si0004": {"svd", 1024, 576, 2, 0},
	"si0007": {"svd-xt", 512, 512, 25, 0},
	"si0009": {"svd-xt", 512, 512, 2, 0},
	"si0013": {"animatediff", 512, 512, 16, 0},
	"si0014": {"animatediff", 1024, 576, 16, 0},
	"si0016": {"animatediff", 1024, 576, 4, 2},
	"si0019": {"animatediff", 768, 512, 16, 0},
}

// The one constant of memory outside the allocator is what fits the table's baselines best,
// by the sum of squares of relative errors, and with it each is within 7 % and all within
// 3 % on average.
func TestDeviceMemoryAgreesWithStreamlinedBaselines(t *testing.T) {
	var sum, weights, errors float64
	n := 0
	for _, r := range measuredRows(t, "streamlined_inference.csv") {
		b, ok := baselines[r["row_id"]]
		if !ok {
			continue
		}
		run := follow(t, footprintOf(t, jobOf(t, b.pipeline, func(j *Job) {
			j.Width, j.Height, j.Frames, j.DecodeAtOnce = b.width, b.height, b.frames, b.decodeAtOnce
		})), MemoryOptions{Outside: Outside})
		const gib = 1 << 30
		want := r.number("peak_mem_GB")
		w := 1 / (want * want)
		sum += w * (want - float64(run.Peak.Reserved.Bytes)/gib)
		weights += w
		off := float64(run.Device())/gib/want - 1
		errors += math.Abs(off)
		n++
		t.Logf("%s %-11s %4dx%-4d %2d frames: %5.2f GiB, published %5.2f, %+4.1f %%; live %5.2f, held by %s: %s", r["row_id"], b.pipeline, b.width, b.height, b.frames,
			float64(run.Device())/gib, want, 100*off, float64(run.Peak.Live.Bytes)/gib, run.Peak.Reserved.Stage, run.Peak.Reserved.Operator)
		if math.Abs(off) > 0.07 {
			t.Errorf("%s: %+.1f %%, want within 7", r["row_id"], 100*off)
		}
		if run.Peak.Reserved.Stage != "decode" {
			t.Errorf("%s: the peak stands in %s, want the decoder", r["row_id"], run.Peak.Reserved.Stage)
		}
	}
	if n != len(baselines) || errors/float64(n) > 0.03 {
		t.Errorf("%d rows, %.1f %% on average, want %d within 3", n, 100*errors/float64(n), len(baselines))
	}
	if fitted := sum / weights * (1 << 30); math.Abs(fitted-float64(Outside)) > 5e6 {
		t.Errorf("%.0f bytes outside fit best, not %d", fitted, Outside)
	}
}

// The most that the allocator had in use, as PyTorch counts it, for pipelines of which no
// row was looked at when the share of workspace was chosen: within 3 %.
func TestAllocatedMemoryAgreesWithTorch(t *testing.T) {
	pipelines := map[string]string{"FLUX.1-dev": "flux-dev", "CogVideoX-2B": "cogvideox-2b", "CogVideoX-5B": "cogvideox-5b"}
	n := 0
	for _, r := range measuredRows(t, "dit_video.csv") {
		pipeline := pipelines[r["model"]]
		if pipeline == "" || r["variant"] != "" || r["dtype"] != "bf16" && r["dtype"] != "fp16" || r["mem_metric"] != "inference_memory GB (torch max allocated)" {
			continue // fused projections are held beside those that they replace
		}
		run := follow(t, footprintOf(t, jobOf(t, pipeline, func(j *Job) { j.Batch, j.DType = int(r.number("batch")), r["dtype"] })), MemoryOptions{})
		got, want := float64(run.Peak.Allocated.Bytes)/(1<<30), r.number("peak_mem_GB")
		n++
		t.Logf("%s %-12s batch %d: %5.2f GiB allocated, measured %5.2f, %+.1f %%", r["row_id"], pipeline, int(r.number("batch")), got, want, 100*(got/want-1))
		if math.Abs(got/want-1) > 0.03 {
			t.Errorf("%s: %+.1f %%, want within 3", r["row_id"], 100*(got/want-1))
		}
	}
	if n < 5 {
		t.Errorf("%d rows, want at least 5", n)
	}
}

// What ran on cards of 40 GB in ML.ENERGY's benchmark runs there in the emulation, which
// holds more than that on a large card.
func TestVideosRunOn40GB(t *testing.T) {
	p, err := hwmodel.Load("a100-sxm-40gb")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		pipeline      string
		width, height int
		batch         int
	}{{"svd-xt", 1024, 576, 3}, {"svd", 1024, 576, 3}, {"animatediff-v3", 512, 512, 4}} {
		f := footprintOf(t, jobOf(t, c.pipeline, func(j *Job) { j.Width, j.Height, j.Batch = c.width, c.height, c.batch }))
		free := follow(t, f, MemoryOptions{Outside: Outside})
		fit, _, err := f.On(p.Device.Memory, free)
		t.Logf("%s batch %d: %.1f GiB on a large card, needs %.1f, %s on 40 GB", c.pipeline, c.batch, float64(free.Device())/(1<<30), float64(f.Smallest(free))/(1<<30), fit)
		if fit != RunsAfterFreeing {
			t.Errorf("%s batch %d: %s: %v", c.pipeline, c.batch, fit, err)
		}
	}
}

// From a pipeline's name to the memory of its run, as asked for in 50 ms at most.
func BenchmarkMemory(b *testing.B) {
	for _, pipeline := range []string{"sd15", "animatediff", "svd-xt", "wan-14b"} {
		b.Run(pipeline, func(b *testing.B) {
			for b.Loop() {
				if _, err := Memory(jobOf(b, pipeline, func(*Job) {}), MemoryOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
