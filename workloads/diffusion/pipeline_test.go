package diffusion

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every shipped pipeline loads, which checks its settings, and runs as it stands.
func TestPipelinesLoad(t *testing.T) {
	for _, name := range PipelineNames() {
		p, err := LoadPipeline(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := p.Job().Validate(); err != nil {
			t.Errorf("%v", err)
		}
	}
}

func TestUnknownPipelineIsNamedWithItsNeighbours(t *testing.T) {
	_, err := LoadPipeline("sd-15")
	if err == nil || !strings.Contains(err.Error(), "sd15") {
		t.Errorf("error %v; want one that suggests sd15", err)
	}
}

// A file may say in what it differs from a shipped pipeline; what it cannot say is
// refused with its line or key.
func TestPipelineFiles(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`like = "sd15"
steps = 20`, ""},
		{`like = "sd15"
steps = 0`, "steps is 0"},
		{`like = "sd-15"`, "did you mean sd15"},
		{"like = \"sd15\"\nsteps = = 3", ":2:"},
		{`like = "sd15"
colour = "red"`, `unknown key "colour"`},
		{`title = "x"`, "source is missing"},
		{`like = "sd15"
width = 500`, "multiples of 64, such as 512x512"},
	} {
		file := filepath.Join(t.TempDir(), "mine.toml")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := LoadPipeline(file)
		switch {
		case c.want == "" && (err != nil || p.Name != "mine" || p.Steps != 20 || p.Width != 512):
			t.Errorf("%q: %+v, %v", c.text, p, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%q: error %v; want %q in it", c.text, err, c.want)
		}
	}
}

// An impossible job is refused with the nearest one that is possible.
func TestJobsSayWhatWouldBeRight(t *testing.T) {
	p, err := LoadPipeline("sd15")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change func(*Job)
		want   string
	}{
		{func(j *Job) { j.Width, j.Height = 512, 500 }, "size 512x500: want sides that are multiples of 64, such as 512x512"},
		{func(j *Job) { j.Height = -3 }, "such as 512x64"},
		{func(j *Job) { j.Width = 1 << 20 }, "such as 32768x512"},
		{func(j *Job) { j.Frames = 16 }, "16 frames: makes images, want no frames"},
		{func(j *Job) { j.Steps = 0 }, "0 steps: want from 1 to"},
		{func(j *Job) { j.Batch = 0 }, "a batch of 0"},
		{func(j *Job) { j.Passes = 3 }, "3 passes: want 2 with guidance or 1 without"},
		{func(j *Job) { j.DType = "fp8" }, "dtype"},
		{func(j *Job) { j.DecodeAtOnce = -1 }, "decoding -1 at a time"},
	} {
		j := p.Job()
		c.change(j)
		if err := j.Validate(); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v; want %q in it", err, c.want)
		}
	}
}

// Every shipped pipeline runs as it stands: its stages are there, in their order, and the
// tensors of each are alive when they are read.
func TestPipelinesRun(t *testing.T) {
	for _, name := range PipelineNames() {
		j := job(t, name, nil)
		stages := stagesOf(t, j)
		for i, s := range stages {
			if i > 0 && s.Phase < stages[i-1].Phase {
				t.Errorf("%s: %s comes after %s", name, s.Name, stages[i-1].Name)
			}
			checkLifetimes(t, s.Graph)
		}
		if last := stages[len(stages)-1]; last.Phase != Decode {
			t.Errorf("%s ends with %s; want decoding", name, last.Name)
		}
		steps, err := j.SolverSteps()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := evaluations(stages), Evaluations(steps); got != want {
			t.Errorf("%s: the denoiser is called %d times; want %d", name, got, want)
		}
	}
}

// FLUX's autoencoder differs from Stable Diffusion's in its latent; both halves together
// have the published 83,819,683 parameters (vae/config.json of FLUX.1-dev, in diffusers).
func TestFluxAutoencoder(t *testing.T) {
	sum := graphOf(t, "vae_flux_decoder", Call{}).Params() + graphOf(t, "vae_flux_encoder", Call{}).Params()
	if sum != 83_819_683 {
		t.Errorf("%d parameters; want 83819683", sum)
	}
}
