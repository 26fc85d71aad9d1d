package diffusion

import (
	"testing"

	"orrery/hwmodel"
)

func pricer(t testing.TB, device, framework string) *Pricer {
	t.Helper()
	p, err := hwmodel.Load(device)
	if err != nil {
		t.Fatal(err)
	}
	f, err := hwmodel.LoadFramework(framework)
	if err != nil {
		t.Fatal(err)
	}
	q, err := NewPricer(p, f)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func jobWith(t testing.TB, pipeline string, set func(j *Job)) *Job {
	t.Helper()
	p, err := LoadPipeline(pipeline)
	if err != nil {
		t.Fatal(err)
	}
	j := p.Job()
	if set != nil {
		set(j)
	}
	return j
}

func priced(t testing.TB, q *Pricer, j *Job) *JobCost {
	t.Helper()
	c, err := q.Job(j)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Every pipeline is priced on boards of every kind by every framework, in finite time that physics
// allows: no quicker than its multiply-adds at the peak rate, a quarter of them for
// convolutions, and no quicker than the host launches it.
func TestPricesObeyPhysics(t *testing.T) {
	for _, name := range PipelineNames() {
		j := jobWith(t, name, nil)
		stages, err := j.Stages()
		if err != nil {
			t.Fatal(err)
		}
		for _, device := range []string{"a100-sxm-80gb", "h100-sxm-80gb", "rtx-2080-ti-11gb", "gtx-1080-ti-11gb"} {
			for _, framework := range hwmodel.Frameworks() {
				if device != "a100-sxm-80gb" && framework != "diffusers" {
					continue
				}
				q := pricer(t, device, framework)
				for _, s := range stages {
					c, err := q.Graph(s.Graph, s.DType)
					if err != nil {
						t.Fatalf("%s on %s: %v", name, device, err)
					}
					floor := 2 * float64(s.Graph.MACs()) / (4 * q.device.FLOPs("fp16"))
					if !(c.Seconds >= floor) || !(c.Seconds >= c.Device || c.Seconds >= c.Launch) || c.Seconds > 1e6 {
						t.Fatalf("%s, %s on %s by %s takes %g s (device %g, host %g); physics allows no less than %g s", name, s.Name, device, framework, c.Seconds, c.Device, c.Launch, floor)
					}
				}
			}
		}
	}
}

// The host decides at a batch of one and the device in a large batch; guidance doubles the
// work but not the launches; a compiler takes launches away.
func TestLaunchBoundIsVisible(t *testing.T) {
	q := pricer(t, "h100-sxm-80gb", "diffusers")
	step := func(j *Job) Cost {
		for _, s := range priced(t, q, j).Stages {
			if s.Phase == Denoise {
				return s.Cost
			}
		}
		t.Fatal("no step")
		return Cost{}
	}
	one, many := step(jobWith(t, "sd15", nil)), step(jobWith(t, "sd15", func(j *Job) { j.Batch = 32 }))
	if !one.LaunchBound() || many.LaunchBound() {
		t.Errorf("host and device take %.3g and %.3g s at batch 1, %.3g and %.3g s at batch 32; want the host to decide the first alone", one.Launch, one.Device, many.Launch, many.Device)
	}
	lone := step(jobWith(t, "sd15", func(j *Job) { j.Passes = 1 }))
	if one.Kernels-lone.Kernels > 8 || lone.Device > 0.8*one.Device {
		t.Errorf("without guidance %d kernels and %.3g s, with it %d and %.3g s", lone.Kernels, lone.Device, one.Kernels, one.Device)
	}
	compiled := pricer(t, "h100-sxm-80gb", "diffusers-compiled")
	a, b := priced(t, q, jobWith(t, "sd15", nil)), priced(t, compiled, jobWith(t, "sd15", nil))
	if b.Launch > 0.8*a.Launch || b.Seconds > a.Seconds {
		t.Errorf("eager %.3g s with %.3g s of launches, compiled %.3g s with %.3g s", a.Seconds, a.Launch, b.Seconds, b.Launch)
	}
}

// More images take longer together, and no longer than one after the other.
func TestBatchesPay(t *testing.T) {
	q := pricer(t, "a100-sxm-80gb", "diffusers")
	last := 0.0
	for _, n := range []int{1, 2, 4, 8, 16} {
		c := priced(t, q, jobWith(t, "sdxl", func(j *Job) { j.Batch, j.Steps = n, 20 }))
		each := c.Seconds / float64(n)
		if last > 0 && (each > 1.02*last || c.Seconds < last*float64(n)/2) {
			t.Errorf("%d images take %.3g s each, half as many %.3g s each", n, each, last)
		}
		last = each
	}
}

func BenchmarkPriceSDXL(b *testing.B) {
	j := jobWith(b, "sdxl", nil)
	stages, err := j.Stages()
	if err != nil {
		b.Fatal(err)
	}
	q := pricer(b, "a100-sxm-80gb", "diffusers")
	for b.Loop() {
		clear(q.works)
		for _, s := range stages {
			if _, err := q.Graph(s.Graph, s.DType); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// ResShift in 15 steps from 64 to 256 pixels takes 0.643 s on an A100 (Table 4 of "One-Step
// Residual Shifting Diffusion"); nothing was fitted to it. The device works for less than
// two thirds of that: the run is bound by launches, and four steps take little more than
// their share.
func TestResShiftIsLaunchBound(t *testing.T) {
	q := pricer(t, "a100-sxm-80gb", "pytorch")
	long := priced(t, q, jobWith(t, "resshift", nil))
	short := priced(t, q, jobWith(t, "resshift-4", nil))
	t.Logf("15 steps: %.3f s (device %.3f s, launches %.3f s); 4 steps: %.3f s", long.Seconds, long.Device, long.Launch, short.Seconds)
	if e := long.Seconds/0.643 - 1; e < -0.15 || e > 0.15 {
		t.Errorf("15 steps take %.3f s, measured 0.643 s: %+.0f %%", long.Seconds, 100*e)
	}
	if long.Device > long.Launch*2/3 {
		t.Errorf("the device works %.3f s and the host launches %.3f s; want the run bound by launches", long.Device, long.Launch)
	}
	if r := short.Seconds / long.Seconds; r < 4.0/15 || r > 0.35 {
		t.Errorf("4 steps take %.2f of 15, want little more than 0.27", r)
	}
}

// Original latencies of Table 1 and Figure 1 of "Fast and Memory-Efficient Video Diffusion Using
// Streamlined Inference" (A100, 25 steps), to which nothing was fitted: each within
// 15 %.
func TestVideosOfStreamlinedInference(t *testing.T) {
	q := pricer(t, "a100-sxm-80gb", "diffusers")
	var sum float64
	cells := []struct {
		pipeline      string
		width, height int
		seconds       float64
	}{
		{"svd", 512, 512, 10.23}, {"svd", 1024, 576, 23.29}, {"svd-xt", 512, 512, 17.05},
		{"animatediff", 512, 512, 9.65}, {"animatediff", 768, 512, 16.9}, {"animatediff", 1024, 576, 24.38},
	}
	for _, c := range cells {
		got := priced(t, q, jobWith(t, c.pipeline, func(j *Job) { j.Width, j.Height, j.Steps = c.width, c.height, 25 })).Seconds
		e := got/c.seconds - 1
		sum += max(e, -e)
		t.Logf("%-12s %4dx%d: %.2f s, measured %.2f s, %+.1f %%", c.pipeline, c.width, c.height, got, c.seconds, 100*e)
		if e < -0.15 || e > 0.15 {
			t.Errorf("%s at %dx%d takes %.2f s, measured %.2f s: %+.0f %%", c.pipeline, c.width, c.height, got, c.seconds, 100*e)
		}
	}
	t.Logf("mean error %.1f %%", 100*sum/float64(len(cells)))
}
