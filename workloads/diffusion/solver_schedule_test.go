package diffusion

import (
	"strings"
	"testing"

	"orrery/workloads/diffusion/solver"
)

// A schedule that solvers wrote is a sampler whose steps cost what they evaluate.
func TestSolverSchedulesAreSamplers(t *testing.T) {
	for _, c := range []struct {
		solver           string
		first            solver.First
		steps, evaluated int
	}{{"unipc-3", solver.Asked, 7, 7}, {"2m++", solver.Zero, 7, 6}, {"heun", solver.Asked, 4, 7}} {
		f, err := solver.LoadFixed(c.solver)
		if err != nil {
			t.Fatal(err)
		}
		s, err := f.Schedule(7, solver.Grids()[2])
		if err != nil {
			t.Fatal(err)
		}
		s.First = c.first
		got, err := ParseSchedule(solver.Encode(s, solver.Note{Source: "a test"}), "s.toml")
		if err != nil {
			t.Fatal(err)
		}
		steps, err := got.Steps(c.steps)
		if err != nil {
			t.Fatal(err)
		}
		if Evaluations(steps) != c.evaluated || s.NFE() != c.evaluated {
			t.Errorf("%s: %d evaluations, want %d", c.solver, Evaluations(steps), c.evaluated)
		}
		for i := range steps {
			want := i > 0 && s.Steps[i-1].Corrector != solver.Uncorrected
			if steps[i].Corrector != want || steps[i].Order != s.Steps[i].Order {
				t.Errorf("%s: step %d is %+v", c.solver, i+1, steps[i])
			}
		}
		if _, err := got.Steps(c.steps + 1); err == nil {
			t.Errorf("%s: another number of steps is taken", c.solver)
		}
	}
	if _, err := ParseSchedule([]byte("version = 3\n[[step]]\ntime = 1\n"), "s.toml"); err == nil || !strings.Contains(err.Error(), "version is 3; want 1") {
		t.Errorf("%v; want another version refused", err)
	}
}
