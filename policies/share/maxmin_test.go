package share

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"orrery/workloads/jobs"
)

// Trying all shares in steps of a twentieth finds nothing better than the linear program,
// and nothing much worse.
func TestFairShareIsTheOptimum(t *testing.T) {
	for i, all := range [][]class{
		{{1, 1, []float64{1, 1}, []float64{2, 1}}, {1, 1, []float64{1, 1}, []float64{3, 1}}},
		{{1, 1, []float64{1, 1}, []float64{5, 1}}, {2, 1, []float64{1, 1}, []float64{1.3, 1}}},
		{{1, 2, []float64{1, 1}, []float64{1, 1}}, {1, 1, []float64{2, 2}, []float64{1, 0.5}}},
		{{3, 1, []float64{1, 1}, []float64{0, 1}}, {1, 1, []float64{1, 1}, []float64{1, 4}}},
	} {
		devices := []float64{1, 2}
		x, err := fair(all, devices)
		if err != nil {
			t.Fatal(err)
		}
		best := 0.0
		const n = 20
		for k := range (n + 1) * (n + 1) * (n + 1) * (n + 1) {
			at := func(i int) float64 { return float64(k/int(math.Pow(n+1, float64(i)))%(n+1)) / n }
			if try := [][]float64{{at(0), at(1)}, {at(2), at(3)}}; feasible(all, devices, try, 1e-9) {
				best = max(best, level(all, try))
			}
		}
		got := level(all, x)
		if !feasible(all, devices, x, 1e-5) {
			t.Errorf("case %d: %v hands out more than there is", i, x)
		}
		if got < best-1e-3 || got > 1.25*best {
			t.Errorf("case %d: the least value is %.4f, trying all finds %.4f", i, got, best)
		}
	}
}

// feasible reports whether shares hand out no more than there is.
func feasible(all []class, devices []float64, x [][]float64, slack float64) bool {
	for k := range devices {
		sum := 0.0
		for c := range all {
			sum += float64(all[c].n) * all[c].width[k] * x[c][k]
		}
		if sum > devices[k]*(1+slack) {
			return false
		}
	}
	for c := range all {
		sum := 0.0
		for k := range devices {
			if sum += x[c][k]; x[c][k] < 0 || x[c][k] > 0 && all[c].speed[k] == 0 {
				return false
			}
		}
		if sum > 1+slack {
			return false
		}
	}
	return true
}

// Whatever the jobs, the program comes to an end, hands out no more than there is, and
// serves the worst at least as well as if all had the same part of every type.
func TestFairShareIsWorthJoining(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		types := rapid.IntRange(1, 4).Draw(t, "types")
		devices := make([]float64, types)
		for k := range devices {
			devices[k] = float64(rapid.IntRange(8, 200).Draw(t, "devices"))
		}
		all := make([]class, rapid.IntRange(1, 12).Draw(t, "classes"))
		demand := 0.0
		for c := range all {
			width := float64(int(1) << rapid.IntRange(0, 3).Draw(t, "width"))
			all[c] = class{n: rapid.IntRange(1, 40).Draw(t, "n"), weight: float64(rapid.IntRange(1, 4).Draw(t, "weight"))}
			for range types {
				all[c].width = append(all[c].width, width)
				all[c].speed = append(all[c].speed, float64(rapid.IntRange(1, 16).Draw(t, "speed"))/4)
			}
			demand += float64(all[c].n) * width
		}
		x, err := fair(all, devices)
		if err != nil {
			t.Fatal(err)
		}
		if !feasible(all, devices, x, 1e-4) {
			t.Fatalf("%v of %v is more than there is", x, devices)
		}
		equal := make([][]float64, len(all))
		for c := range equal {
			for k := range devices {
				// Of each type the same part of a job's time, so that none is overbooked and no
				// job is anywhere for more than all of its time.
				equal[c] = append(equal[c], min(devices[k]/demand, 1/float64(types)))
			}
		}
		if a, b := level(all, x), level(all, equal); a < b*(1-2e-3)-1e-4 {
			t.Fatalf("the worst job gets %v, of equal parts %v", a, b)
		}
	})
}

// Over many rounds jobs get of each type the part of their time that the program says.
func TestRoundsComeToTheirTargets(t *testing.T) {
	v := View{Types: []Type{{Name: "fast", Devices: 1}, {Name: "slow", Devices: 1}}}
	for id, speed := range [][2]float64{{4, 1}, {3, 2}, {2, 2}} {
		v.Jobs = append(v.Jobs, Job{ID: int64(id), Weight: 1, Widths: []int{1}, Speed: [][]float64{{speed[0]}, {speed[1]}}, Held: Hold{With: -1}})
	}
	m, p := &MaxMin{Round: time.Minute}, Plan{}
	got := [3][2]float64{}
	const rounds = 3000
	for range rounds {
		p.Begin(&v)
		m.Share(&v, &p)
		for j := range v.Jobs {
			if v.Jobs[j].Held = p.Holds[j]; p.Holds[j].Width > 0 {
				got[j][p.Holds[j].Type] += 1. / rounds
			}
		}
		v.Now = v.Now.Add(time.Minute)
	}
	for j := range v.Jobs {
		target := m.accounts[v.Jobs[j].ID].target
		t.Logf("job %d: %.3f of its time, target %.3f", j, got[j], target)
		for k := range target {
			if math.Abs(got[j][k]-target[k]) > 0.02 {
				t.Errorf("job %d spends %.3f of its time on %s, want %.3f", j, got[j][k], v.Types[k].Name, target[k])
			}
		}
	}
}

// Blind shares are by weight, and what a narrow job cannot use goes to the others.
func TestBlindSharesAreLevel(t *testing.T) {
	v := View{Types: []Type{{Devices: 6}, {Devices: 4}}}
	for id, width := range []int{1, 8, 8} {
		v.Jobs = append(v.Jobs, Job{ID: int64(id), Weight: float64(max(id, 1)), Widths: []int{width}, Speed: [][]float64{{1}, {1}}})
	}
	m := &MaxMin{Blind: true}
	m.book(&v)
	m.level(&v)
	for id, want := range []float64{1, 3. / 8, 6. / 8} { // of 10 devices 1, then 3 and 6 by weight
		if got := m.accounts[int64(id)].target[0]; math.Abs(got-want) > 1e-12 {
			t.Errorf("job %d should run %v of its time, got %v", id, want, got)
		}
	}
}

// However many kinds of jobs there are, the program stays small, and each job is in the
// class of its like.
func TestClassesAreBounded(t *testing.T) {
	rng := draw(t, jobs.Mix{Rate: 1, Jobs: 500, Types: jobs.Types, Sizes: jobs.Gavel, Rigid: true}, 1)
	v := View{Types: mixed}
	for i, j := range rng {
		speed := make([][]float64, len(j.Speed))
		for k := range speed { // no two jobs alike
			speed[k] = []float64{j.Speed[k][0] * (1 + float64(i*(k+1)%97)/97)}
		}
		v.Jobs = append(v.Jobs, Job{Weight: 1, Widths: j.Widths, Speed: speed})
	}
	var c classes
	c.sort(&v)
	if len(c.all) > mostClasses {
		t.Errorf("%d classes, want at most %d", len(c.all), mostClasses)
	}
	n := 0
	for at := range c.all {
		n += c.all[at].n
	}
	if n != len(v.Jobs) {
		t.Errorf("%d jobs in classes of %d", n, len(v.Jobs))
	}
	for j := range v.Jobs {
		if cl := c.all[c.of[j]]; cl.width[0] != float64(v.Jobs[j].Widths[0]) {
			t.Fatalf("a job of width %d is in a class of width %v", v.Jobs[j].Widths[0], cl.width[0])
		}
	}
}
