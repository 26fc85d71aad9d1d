package posttrain

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"orrery/workloads/diffusion/analytic"
	"orrery/workloads/quality"
)

func digits(t *testing.T) *analytic.Mixture {
	t.Helper()
	d, err := quality.Table("digits")
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]float64
	for i := range d.Len() {
		row := make([]float64, len(d.Row(i)))
		for j, x := range d.Row(i) {
			row[j] = x / 16
		}
		rows = append(rows, row)
	}
	m, err := analytic.FitClasses(rows, d.Y, len(d.Classes), 12)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// labels follows pairs of trajectories of 20 steps on the digits and asks, step by step, what the
// preference between the final images says of the step. Classes have rewards, in an order that has
// nothing to do with which digits look alike; the exact value of a noisy image is the
// expectation of its class's reward.
type labels struct {
	m     *analytic.Mixture
	s     analytic.Scratch
	draws *rand.Rand
}

const labelSteps = 20

func (l *labels) value(x []float64, step int) float64 {
	v := 0.0
	for k, p := range l.m.Shares(&l.s, x, at(step)) {
		v += p * float64((7*k+3)%10) / 9
	}
	return v
}

// at is the time after so many steps, evenly from noise to data.
func at(step int) float64 { return 1 - (1-1e-3)*float64(step)/labelSteps }

// start is noise.
func (l *labels) start() []float64 {
	x := make([]float64, l.m.Dim())
	for j := range x {
		x[j] = l.draws.NormFloat64()
	}
	return x
}

// next takes x through a step.
func (l *labels) next(x []float64, step int) {
	eps := make([]float64, len(x))
	l.m.Eps(&l.s, eps, x, at(step))
	l.m.Ancestral(&l.s, x, eps, at(step), at(step+1), l.draws.NormFloat64)
}

// Labels that are propagated from final images are a coin's at early steps and right only at
// the end; of what a step contributes they say little throughout. Step-aware labels, of
// candidates from the same image, are right by construction, and early on there is nothing
// to prefer, so that the first steps may be left out.
func TestPropagatedLabelsAreWrongEarly(t *testing.T) {
	l := &labels{m: digits(t), draws: rand.New(rand.NewPCG(1, 1))}
	const pairs = 2000
	values := func() []float64 {
		x := l.start()
		out := []float64{l.value(x, 0)}
		for i := range labelSteps {
			l.next(x, i)
			out = append(out, l.value(x, i+1))
		}
		return out
	}
	agree, contributes := make([]float64, labelSteps+1), 0.0
	for range pairs {
		a, b := values(), values()
		won := a[labelSteps] > b[labelSteps]
		for i := 1; i <= labelSteps; i++ {
			if (a[i] > b[i]) == won {
				agree[i] += 1.0 / pairs
			}
			if (a[i]-a[i-1] > b[i]-b[i-1]) == won {
				contributes += 1.0 / pairs / labelSteps
			}
		}
	}
	// A prototype with rewards of its own had these, which rewards do not change much.
	for i, want := range map[int]float64{1: .508, 4: .496, 8: .550, 10: .574, 12: .619, 14: .716, 16: .847, 18: .970, 20: 1} {
		if math.Abs(agree[i]-want) > 0.05 {
			t.Errorf("labels of final images agree with step %d in %.3f of the pairs, want %.3f", i, agree[i], want)
		}
	}
	if math.Abs(contributes-0.588) > 0.03 {
		t.Errorf("they agree with what a step contributes in %.3f, want 0.588", contributes)
	}
	t.Logf("agreement %.3f, with contributions %.3f", agree, contributes)

	// The gap between the best and the worst of four candidates from the same image.
	gap := make([]float64, labelSteps+1)
	for range 400 {
		x := l.start()
		for i := range labelSteps {
			low, high := math.Inf(1), math.Inf(-1)
			var keep []float64
			for range 4 {
				y := slices.Clone(x)
				l.next(y, i)
				v := l.value(y, i+1)
				low, high = min(low, v), max(high, v)
				keep = y
			}
			x = keep
			gap[i+1] += (high - low) / 400
		}
	}
	t.Logf("gaps of four candidates %.3f", gap[1:])
	peak := 1
	for i := range gap {
		if gap[i] > gap[peak] {
			peak = i
		}
	}
	if peak < 14 || peak > 18 || gap[peak] < 0.12 || gap[4] > 0.03 || gap[20] > 0.02 {
		t.Errorf("gaps peak at step %d: %.3f", peak, gap[1:])
	}
}
