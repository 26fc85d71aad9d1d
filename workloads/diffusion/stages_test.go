package diffusion

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func job(t *testing.T, pipeline string, change func(*Job)) *Job {
	t.Helper()
	p, err := LoadPipeline(pipeline)
	if err != nil {
		t.Fatal(err)
	}
	j := p.Job()
	if change != nil {
		change(j)
	}
	return j
}

func stagesOf(t *testing.T, j *Job) []Stage {
	t.Helper()
	stages, err := j.Stages()
	if err != nil {
		t.Fatal(err)
	}
	return stages
}

// outline writes stages as "2 encode clip_text_l, 50 step, 1 decode".
func outline(stages []Stage) string {
	var parts []string
	for _, s := range stages {
		parts = append(parts, fmt.Sprintf("%d %s", s.Times, s.Name))
	}
	return strings.Join(parts, ", ")
}

// evaluations returns how often the denoiser is called.
func evaluations(stages []Stage) int {
	sum := 0
	for _, s := range stages {
		if s.Phase == Denoise {
			sum += s.Times
		}
	}
	return sum
}

func TestStagesOfARun(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Job)
		want   string
	}{
		{"defaults", func(j *Job) { j.Sampler = "ddim" }, "2 encode clip_text_l, 50 step, 1 decode"},
		{"no guidance", func(j *Job) { j.Sampler, j.Passes, j.Steps = "lcm", 1, 4 }, "1 encode clip_text_l, 4 step, 1 decode"},
		{"decoded three at a time", func(j *Job) { j.Sampler, j.Batch, j.DecodeAtOnce = "ddim", 8, 3 }, "2 encode clip_text_l, 50 step, 2 decode, 1 decode"},
		{"guidance for the first half", func(j *Job) { j.Sampler, j.Method.Guided = "ddim", Interval{0, 0.5} }, "2 encode clip_text_l, 25 step, 25 step, 1 decode"},
		{"multistep", func(j *Job) { j.Sampler, j.Steps = "dpm-solver++", 20 }, "2 encode clip_text_l, 1 step, 19 step, 1 decode"},
	} {
		if got := outline(stagesOf(t, job(t, "sd15", c.change))); got != c.want {
			t.Errorf("%s: %s; want %s", c.name, got, c.want)
		}
	}
}

// A step is the network and some small kernels: it multiplies what the network multiplies.
func TestStepsAddOnlySmallKernels(t *testing.T) {
	for _, sampler := range []string{"ddim", "pndm", "dpm-solver++3m", "unipc", "heun"} {
		j := job(t, "sd15", func(j *Job) { j.Sampler, j.Steps = sampler, 12 })
		net, err := j.Denoiser(2)
		if err != nil {
			t.Fatal(err)
		}
		stages := stagesOf(t, j)
		steps, _ := j.SolverSteps()
		if got, want := evaluations(stages), Evaluations(steps); got != want {
			t.Errorf("%s: the denoiser is called %d times; want %d", sampler, got, want)
		}
		for _, s := range stages {
			if s.Phase != Denoise {
				continue
			}
			more := s.Graph.Kernels() - net.Kernels()
			if s.Graph.MACs() != net.MACs() || s.Graph.Weights != net.Weights || more < 10 || more > 40 {
				t.Errorf("%s: step of %d MACs, %d bytes of weights and %d kernels more than the network's %d and %d",
					sampler, s.Graph.MACs(), s.Graph.Weights, more, net.MACs(), net.Weights)
			}
			checkLifetimes(t, s.Graph)
		}
	}
}

// checkLifetimes fails unless every tensor is written before it is read, lives until it is
// read last, and dies once or stays as an output.
func checkLifetimes(t *testing.T, g *Graph) {
	t.Helper()
	const unborn, alive, dead = 0, 1, 2
	state := make([]int, len(g.Tensors))
	for _, id := range g.Inputs {
		state[id] = alive
	}
	for i := range g.Ops {
		op := &g.Ops[i]
		for _, id := range op.Reads {
			if state[id] != alive {
				t.Fatalf("%s: %s reads %s, which is not alive", g.Name, op.Name, g.Tensors[id].Name)
			}
		}
		for _, id := range op.Writes {
			if state[id] != unborn {
				t.Fatalf("%s: %s writes %s, which is there already", g.Name, op.Name, g.Tensors[id].Name)
			}
			state[id] = alive
		}
		for _, id := range op.Free {
			if state[id] != alive {
				t.Fatalf("%s: %s frees %s, which is not alive", g.Name, op.Name, g.Tensors[id].Name)
			}
			state[id] = dead
		}
	}
	for _, id := range g.Outputs {
		if state[id] != alive {
			t.Fatalf("%s: output %s is not alive at the end", g.Name, g.Tensors[id].Name)
		}
		state[id] = dead
	}
	for _, id := range g.Inputs {
		state[id] = dead
	}
	for id, s := range state {
		if s == alive {
			t.Fatalf("%s: %s is alive at the end", g.Name, g.Tensors[id].Name)
		}
	}
}

func TestSamplersThatDoNotFitAreRefused(t *testing.T) {
	for _, c := range []struct {
		change func(*Job)
		want   string
	}{
		{func(j *Job) { j.Sampler = "hyper-sd"; j.Steps = 4 }, "no guidance, want 1"},
		{func(j *Job) { j.Sampler = "hyper-sd"; j.Passes = 1; j.Steps = 3 }, "3 steps: hyper-sd knows 1, 2, 4 or 8"},
		{func(j *Job) { j.Sampler = "flow-euler" }, "samples flow models, want one for diffusion models, such as pndm"},
		{func(j *Job) { j.Sampler = "hypersd" }, "did you mean hyper-sd"},
		{func(j *Job) { j.Sampler = ""; j.Steps = 1 }, "no sampler named"},
		{func(j *Job) { j.Sampler = "ddim"; j.Steps = 2000 }, "1000 noise levels"},
		{func(j *Job) { j.Method.Guided = Interval{0.5, 0.2} }, "guidance from 0.5 to 0.2"},
	} {
		_, err := job(t, "sd15", c.change).Stages()
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v; want %q in it", err, c.want)
		}
	}
}

// Tiles overlap by a quarter, and together they cover the image (diffusers, tiled_decode:
// from 1024 pixels in tiles of 512, starts at 0, 384 and 768 pixels).
func TestTiles(t *testing.T) {
	j := job(t, "sdxl", func(j *Job) { j.Tile = 512 })
	want := []tile{{512, 512, 4}, {256, 512, 2}, {512, 256, 2}, {256, 256, 1}}
	if got := j.tiles(); !slices.Equal(got, want) {
		t.Errorf("tiles %v; want %v", got, want)
	}
	decodes := 0
	for _, s := range stagesOf(t, j) {
		if s.Phase == Decode {
			decodes += s.Times
		}
	}
	if decodes != 9 {
		t.Errorf("%d calls of the decoder; want 9", decodes)
	}
	for _, c := range []struct {
		pipeline string
		tile     int
		want     string
	}{{"sdxl", 60, "want a multiple of 8 from 64"}, {"svd", 512, "decodes videos, want 0"}} {
		if err := job(t, c.pipeline, func(j *Job) { j.Tile = c.tile }).Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v; want %q in it", err, c.want)
		}
	}
}

// Building all graphs of a run is to take well below 50 ms.
func BenchmarkStages(b *testing.B) {
	for _, name := range []string{"sd15", "sdxl", "svd-xt", "flux-dev", "wan-14b"} {
		b.Run(name, func(b *testing.B) {
			p, err := LoadPipeline(name)
			if err != nil {
				b.Fatal(err)
			}
			j := p.Job()
			for b.Loop() {
				if _, err := j.Stages(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
