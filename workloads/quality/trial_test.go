package quality

import (
	"math"
	"testing"

	"orrery/policies/lrsched"
)

func refine(of lrsched.Norm) func([]float64) (Schedule, error) {
	return func(norms []float64) (Schedule, error) {
		r, err := lrsched.Refine(norms, 0.1, of)
		if r == nil {
			return nil, err
		}
		return r, err
	}
}

// octaves returns 2^from to 2^to.
func octaves(from, to int) []float64 {
	var out []float64
	for k := from; k <= to; k++ {
		out = append(out, math.Exp2(float64(k)))
	}
	return out
}

// elastic is a trial of 1,500 steps in which the batch changes, as when devices are taken away
// or added.
func elastic(t testing.TB, table string, share float64, before, after int) *Trial {
	return &Trial{
		Table: scaled(t, table), Optimiser: SGD(0), Decay: 1e-3, Steps: 1500, Replace: true,
		Batch: func(step int) int {
			if float64(step) < share*1500 {
				return before
			}
			return after
		},
		Grid: octaves(-9, 2), Schedules: []Contender{{"linear", schedule(t, "linear")}},
		Refine: refine(lrsched.L2), Recordings: 4, Runs: 4, Seed: 1,
	}
}

// Where devices are lost late, gradients are noisier from then on, and a schedule refined
// from their norms takes smaller steps there: less than 0.3 of linear's gap to the optimum.
func TestRefinementWhereDevicesAreLost(t *testing.T) {
	for _, name := range []string{"heart", "pima"} {
		v, err := elastic(t, name, 0.6, 64, 2).Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		refined, ok := v.Refined()
		if !ok || v.Refused != nil {
			t.Fatalf("%s: refused: %v", name, v.Refused)
		}
		linear := v.Outcomes[0]
		t.Logf("%s: gap %.3g +- %.1g, linear's %.3g +- %.1g: %.3f of it", name, refined.Gap, refined.SE, linear.Gap, linear.SE, v.Ratio("refined"))
		if r := v.Ratio("refined"); !(r < 0.3) || refined.Edge || linear.Edge {
			t.Errorf("%s: the refined schedule leaves %.3f of linear's gap (at an edge of the rates: %v, %v); want less than 0.3", name, r, refined.Edge, linear.Edge)
		}
	}
}

// epochs is a trial at a constant batch of 16: SGD for 30 epochs with weight decay, or Adam
// for 20 without.
func epochs(t testing.TB, table string, adam bool) *Trial {
	d := scaled(t, table)
	trial := &Trial{
		Table: d, Optimiser: SGD(0), Decay: 1e-4, Steps: 30 * d.Len() / 16, Batch: func(int) int { return 16 },
		Grid: octaves(-7, 5), Schedules: []Contender{{"linear", schedule(t, "linear")}},
		Refine: refine(lrsched.L2), Recordings: 1, Runs: 8, Seed: 1,
	}
	if adam {
		trial.Optimiser, trial.Decay, trial.Steps, trial.Grid = Adam(), 0, 20*d.Len()/16, octaves(-9, 4)
		trial.SumAbs, trial.Refine = true, refine(lrsched.L1)
	}
	return trial
}

// Where samples can be told apart (almost) without fail, gradients vanish and the norms of a
// run say nothing: the refinement is refused.
func TestRefinementIsRefusedWhereNormsVanish(t *testing.T) {
	for name, want := range map[string]bool{"iris": true, "wine": true, "glass": false, "heart": false} {
		for _, adam := range []bool{false, true} {
			trial := epochs(t, name, adam)
			trial.Runs = 1
			v, err := trial.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if refused := v.Refused != nil; refused != want {
				t.Errorf("%s, Adam %v: refused is %v; want %v", name, adam, refused, want)
			}
			if v.Refused != nil && v.Safe().Name != "linear" {
				t.Errorf("%s, Adam %v: the advice is not linear", name, adam)
			}
		}
	}
}

// missed is by how much more than a point of accuracy a table loses with Adam: after 20 epochs
// both are far from the optimum, whose gap is then a matter of samples told apart.
var missed = map[string]float64{"glass": 0.004, "sonar": 0.002}

// The refinement is no gain on ordinary problems: what follows its advice comes out near linear.
func TestRefinementOnOrdinaryProblems(t *testing.T) {
	long(t)
	for _, adam := range []bool{false, true} {
		sum, n, points := 0.0, 0.0, 0.0
		for _, name := range []string{"dna", "glass", "heart", "iris", "pima", "sonar", "vehicle", "vowel", "wine"} {
			v, err := epochs(t, name, adam).Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			safe, linear := v.Safe(), v.Outcomes[0]
			sum, n = sum+math.Log(safe.Gap/linear.Gap), n+1
			t.Logf("Adam %v, %-8s: refined %.3f of linear's gap (refused: %v); errors %.2f %% and %.2f %%; edges %v %v", adam, name, v.Ratio("refined"), v.Refused != nil, 100*safe.Error, 100*linear.Error, safe.Edge, linear.Edge)
			points += (safe.Error - linear.Error) / 9
			if adam && math.Abs(safe.Error-linear.Error) > 0.01+missed[name] {
				t.Errorf("%s: errors %.2f %% and %.2f %%; want within a point", name, 100*safe.Error, 100*linear.Error)
			}
		}
		mean := math.Exp(sum / n)
		t.Logf("Adam %v: geometric mean %.3f, errors %+.2f points", adam, mean, 100*points)
		if adam && !(mean > 0.85 && mean < 1.25) {
			t.Errorf("geometric mean of the ratios %.3f; want 0.85 to 1.25", mean)
		}
	}
}

func TestTrialRefusesNonsense(t *testing.T) {
	trial := epochs(t, "iris", false)
	trial.Grid = nil
	if _, err := trial.Run(t.Context()); err == nil {
		t.Error("a trial without rates runs")
	}
	trial = epochs(t, "iris", false)
	trial.Grid = []float64{1e300}
	if _, err := trial.Run(t.Context()); err == nil {
		t.Error("a trial that diverges at every rate runs")
	}
}
