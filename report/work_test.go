package report

import (
	"strings"
	"testing"

	"orrery/workloads/diffusion"
)

// The run's work is that of its stages, however they are joined for reading.
func TestWorkAddsUp(t *testing.T) {
	p, err := diffusion.LoadPipeline("sd15")
	if err != nil {
		t.Fatal(err)
	}
	j := p.Job()
	j.Steps, j.Method.Rewrites = 9, []diffusion.Rewrite{diffusion.DeepCache{Interval: 3}}
	stages, err := j.Stages()
	if err != nil {
		t.Fatal(err)
	}
	w := NewWork("sd15", "", stages, nil)
	sum := WorkStage{Name: "run"}
	for _, s := range w.Stages {
		sum.Calls += s.Calls
		sum.Kernels += s.Kernels
		sum.MACs += s.MACs
		sum.Moved += s.Moved
	}
	if sum != w.Total {
		t.Errorf("stages add up to %+v; the run is %+v", sum, w.Total)
	}
	if len(w.Stages) != 4 || w.Evaluations != 10 {
		t.Errorf("%d stages with %d evaluations; want 4 (encode, step, step cached, decode) with 10", len(w.Stages), w.Evaluations)
	}
	if !strings.Contains(w.Text(), "quality unknown") {
		t.Error("nothing was given, and the text does not say that the quality is unknown")
	}
}
