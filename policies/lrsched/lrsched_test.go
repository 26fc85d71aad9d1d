package lrsched

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestProfilesAtPoints(t *testing.T) {
	at := []float64{0, 0.25, 0.5, 0.75, 0.95}
	for name, want := range map[string][]float64{
		"constant":            {1, 1, 1, 1, 1},
		"linear":              {1, .75, .5, .25, .05},
		"cosine":              {1, .853553, .5, .146447, .006156},
		"exponential":         {1, .472367, .223130, .105399, .057844},
		"step-50-75":          {1, 1, .1, .01, .01},
		"step-30-60-90":       {1, 1, .1, .01, .001},
		"onecycle":            {.1, .6, .9, .4, .0505},
		"rex":                 {1, .857143, .666667, .4, .095238},
		"rex-0.9":             {1, .967742, .909091, .769231, .344828},
		"polynomial":          {0, .694444, .308642, .077160, .003086},
		"refined-approx/mri":  {0, .625, .848, .4548, .1069},
		"refined-approx/rcnn": {1, .649519, .353553, .125, .011180},
	} {
		p, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, z := range at {
			if got := p(z); math.Abs(got-want[i]) > 1e-3*max(want[i], 1e-3) && math.Abs(got-want[i]) > 5e-4 {
				t.Errorf("%s at %g is %.6f, want %.6f", name, z, got, want[i])
			}
		}
	}
	if _, err := Load("rexx"); err == nil || !strings.Contains(err.Error(), "rex") {
		t.Errorf("an unknown schedule: %v", err)
	}
}

func TestWrappersByName(t *testing.T) {
	p, err := Load("rex+warmup=0.2+cycles=2+points=10")
	if err != nil {
		t.Fatal(err)
	}
	want := Sampled(10, Cyclic(2, WarmUp(0.2, REX(0.5))))
	for i := range 100 {
		if z := float64(i) / 100; p(z) != want(z) {
			t.Errorf("at %g it is %g, want %g", z, p(z), want(z))
		}
	}
	for name, want := range map[string]string{
		"rex+warmup=1":    `warmup is "1"; want a share`,
		"rex+warmup=NaN":  `warmup is "NaN"`,
		"rex+cycles=0":    `cycles is "0"; want a whole number`,
		"rex+points=1e9":  `points is "1e9"`,
		"rex+warm=0.1":    `no wrapper of schedules named "warm"; did you mean warmup?`,
		"rexx+warmup=0.1": `no schedule named "rexx"`,
		"rex+":            "no wrapper of schedules",
	} {
		if _, err := Load(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}

// Every profile stays between nothing and the peak, and reaches that somewhere.
func TestProfilesAreSharesOfThePeak(t *testing.T) {
	for _, n := range Profiles() {
		most := 0.0
		for i := range 1000 {
			x := n.Profile(float64(i) / 1000)
			if !(x >= 0 && x <= 1+1e-12) {
				t.Errorf("%s is %g at %g", n.Name, x, float64(i)/1000)
			}
			most = max(most, x)
		}
		if most < 0.98 {
			t.Errorf("%s peaks at %g", n.Name, most)
		}
	}
	s := Of(Sampled(4, Linear))
	if a, b := s.LR(0, 8), s.LR(1, 8); a != b || s.LR(2, 8) != 0.75 {
		t.Errorf("sampled at four points: %g, %g, %g", a, b, s.LR(2, 8))
	}
	if w := WarmUp(0.2, Linear); w(0.1) != 0.5 || w(0.2) != 1 || math.Abs(w(0.6)-0.5) > 1e-12 {
		t.Errorf("warm-up: %g %g %g", w(0.1), w(0.2), w(0.6))
	}
	if c := Cyclic(2, Linear); c(0) != 1 || c(0.5) != 1 || math.Abs(c(0.75)-0.5) > 1e-12 {
		t.Errorf("cycles: %g %g %g", c(0), c(0.5), c(0.75))
	}
	if m := OneCycleMomentum(0.85, 0.95); math.Abs(m(0.45)-0.85) > 1e-12 || m(0) < 0.93 {
		t.Errorf("momentum of one cycle: %g at the peak, %g at the start", m(0.45), m(0))
	}
}

// The theorem behind all of it, on convex problems whose optimum is known (Defazio and
// others, 2023, theorems 1 and 3): for any weights w and steps z' = z + d, the iterates x' = x + (w_{t+1:T} /
// w_{1:T}) d have f(x_T) - f(u) <= sum w_t <g_t, z_t - u> / w_{1:T}; and with d = -w g that is
// at most (D^2 + sum w^2 g^2) / (2 w_{1:T}). Some cases meet it with equality, so that an index that is
// off by one fails.
func TestLastIterateIsWithinItsBound(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 1))
	tightest := 0.0
	for range 3000 {
		d, steps := 1+r.IntN(5), 2+r.IntN(59)
		f := newConvex(r, d)
		w, total := make([]float64, steps), 0.0
		for i := range w {
			w[i] = math.Exp(r.NormFloat64())
			total += w[i]
		}
		x := make([]float64, d)
		for i := range x {
			x[i] = 3 * r.NormFloat64()
		}
		z := slices.Clone(x)
		distance := f.distance2(x)
		inner, squares, tail := 0.0, 0.0, total
		for t := range steps {
			g := f.gradient(x)
			for i := range g {
				inner += w[t] * g[i] * (z[i] - f.optimum[i])
				squares += w[t] * w[t] * g[i] * g[i]
			}
			tail -= w[t]
			if t == steps-1 {
				break
			}
			for i := range g {
				z[i] -= w[t] * g[i]
				x[i] -= tail / total * w[t] * g[i]
			}
		}
		value, bound := f.value(x), inner/total
		if value > bound*(1+1e-9)+1e-9 {
			t.Fatalf("in %d dimensions after %d steps: %g above the optimum, the bound is %g", d, steps, value, bound)
		}
		if worst := (distance + squares) / (2 * total); value > worst*(1+1e-9)+1e-9 {
			t.Fatalf("in %d dimensions after %d steps: %g above the optimum, the bound is %g", d, steps, value, worst)
		}
		tightest = max(tightest, value/bound)
	}
	if tightest < 0.999 {
		t.Errorf("the tightest case is at %.4f of its bound; want one that meets it", tightest)
	}
}

// convex is max_i |a_i (x - x*)|.
type convex struct {
	a       [][]float64
	optimum []float64
}

func newConvex(r *rand.Rand, d int) *convex {
	f := &convex{}
	for range d {
		f.optimum = append(f.optimum, r.NormFloat64())
	}
	for range 1 + r.IntN(2*d) {
		row := make([]float64, d)
		for i := range row {
			row[i] = r.NormFloat64()
		}
		f.a = append(f.a, row)
	}
	return f
}

func (f *convex) worst(x []float64) (row int, product float64) {
	for k, a := range f.a {
		p := 0.0
		for i := range x {
			p += a[i] * (x[i] - f.optimum[i])
		}
		if math.Abs(p) > math.Abs(product) {
			row, product = k, p
		}
	}
	return row, product
}

func (f *convex) value(x []float64) float64 { _, p := f.worst(x); return math.Abs(p) }

func (f *convex) gradient(x []float64) []float64 {
	row, p := f.worst(x)
	g := slices.Clone(f.a[row])
	if p < 0 {
		for i := range g {
			g[i] = -g[i]
		}
	}
	return g
}

func (f *convex) distance2(x []float64) float64 {
	sum := 0.0
	for i := range x {
		sum += (x[i] - f.optimum[i]) * (x[i] - f.optimum[i])
	}
	return sum
}

// For fixed norms the closed form minimises the bound of theorem 3: no other weights do better.
func TestOptimalWeightsMinimiseTheBound(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	norms := make([]float64, 40)
	for i := range norms {
		norms[i] = math.Exp(r.NormFloat64())
	}
	bound := func(w []float64) float64 {
		total, squares := 0.0, 0.0
		for i := range w {
			total += w[i]
			squares += w[i] * w[i] * norms[i] * norms[i]
		}
		return (1 + squares) / (2 * total)
	}
	best := weights(norms, L2)
	inverse := 0.0
	for _, x := range best {
		inverse += x
	}
	for i := range best {
		best[i] /= math.Sqrt(inverse)
	}
	refined, linear := bounds(norms)
	if got := bound(best); math.Abs(got-refined) > 1e-12 || refined > linear {
		t.Errorf("the bound of the best weights is %g, in closed form %g; that of linear decay %g", got, refined, linear)
	}
	for range 2000 {
		other := slices.Clone(best)
		for i := range other {
			other[i] *= math.Exp(0.2 * r.NormFloat64())
		}
		if bound(other) < refined {
			t.Fatal("other weights have a lower bound")
		}
	}
}

// Shapes of the authors' synthetic norms: 2,000 points between knots, smoothed by a Gaussian
// of 40 points.
func TestRefinedShapes(t *testing.T) {
	flat := make([]float64, 50)
	for i := range flat {
		flat[i] = 3
	}
	for _, of := range []Norm{L1, L2} {
		for i, got := range Optimal(flat, of) {
			if want := 1 - float64(i+1)/50; math.Abs(got-want) > 1e-12 {
				t.Errorf("equal norms: step %d is %g, want %g", i+1, got, want)
			}
		}
	}
	x := []float64{0, .003, .02, .03, .1, 1}
	for _, c := range []struct {
		y                []float64
		peak, half, late float64
	}{
		{[]float64{15, 6, 4, 2, 1, 1}, .135, .583, .116},
		{[]float64{15, 6, 4, 2, 1, 2}, .121, .212, .019},
		{[]float64{15, 6, 4, 2, 1, .7}, .150, .860, .283},
	} {
		r := Optimal(blurred(x, c.y, 2000, 40), L2)
		top := slices.Max(r)
		for _, v := range []struct{ got, want float64 }{
			{float64(slices.Index(r, top)) / 2000, c.peak}, {r[1000] / top, c.half}, {r[1800] / top, c.late},
		} {
			if math.Abs(v.got-v.want) > 0.005 {
				t.Errorf("norms %v: %.4f, want %.3f", c.y, v.got, v.want)
			}
		}
	}
}

// blurred interpolates between knots and blurs, mirrored at the ends.
func blurred(x, y []float64, n int, sigma float64) []float64 {
	sharp := make([]float64, n)
	for i := range sharp {
		z, k := float64(i)/float64(n-1), 0
		for k < len(x)-2 && z > x[k+1] {
			k++
		}
		f := (z - x[k]) / (x[k+1] - x[k])
		sharp[i] = y[k] + f*(y[k+1]-y[k])
	}
	out, reach := make([]float64, n), int(4*sigma)
	for i := range out {
		sum, all := 0.0, 0.0
		for d := -reach; d <= reach; d++ {
			j := i + d
			if j < 0 {
				j = -j - 1
			}
			if j >= n {
				j = 2*n - 1 - j
			}
			w := math.Exp(-float64(d*d) / (2 * sigma * sigma))
			sum, all = sum+w*sharp[j], all+w
		}
		out[i] = sum / all
	}
	return out
}

func TestRefineRefusesNonsense(t *testing.T) {
	good := make([]float64, 100)
	for i := range good {
		good[i] = 1 + 0.1*math.Sin(float64(i))
	}
	if _, err := Refine(good, 0.1, L2); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(n []float64) []float64{
		"NaN":      func(n []float64) []float64 { n[40] = math.NaN(); return n },
		"zero":     func(n []float64) []float64 { n[40] = 0; return n },
		"negative": func(n []float64) []float64 { n[40] = -1; return n },
		"infinite": func(n []float64) []float64 { n[40] = math.Inf(1); return n },
		"too few":  func(n []float64) []float64 { return n[:7] },
	} {
		if _, err := Refine(change(slices.Clone(good)), 0.1, L2); err == nil || errors.Is(err, ErrDegenerate) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Refine(good, 1, L2); err == nil {
		t.Error("smoothing over the whole run is accepted")
	}
	vanishing := make([]float64, 100)
	for i := range vanishing {
		vanishing[i] = math.Exp(-float64(i) / 10)
	}
	r, err := Refine(vanishing, 0.1, L2)
	if !errors.Is(err, ErrDegenerate) || r == nil {
		t.Errorf("norms that vanish: %v", err)
	}
	if r.LR(99, 100) > 1e-9 {
		t.Errorf("the last step is %g", r.LR(99, 100))
	}
}

// The running median against the definition.
func TestSmoothingIsAMedian(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	x := make([]float64, 60)
	for i := range x {
		x[i] = r.Float64()
	}
	for _, tau := range []float64{0, 0.05, 0.1, 0.5, 0.9} {
		half := int(tau * 60 / 2)
		for i, got := range smooth(x, tau) {
			var window []float64
			for j := i - half; j <= i+half; j++ {
				k := max(j, 0)
				if k >= 60 {
					k = 2*59 - k
				}
				window = append(window, x[k])
			}
			slices.Sort(window)
			if want := window[half]; got != want {
				t.Fatalf("tau %g: point %d is %g, want %g", tau, i, got, want)
			}
		}
	}
}

// The rate never rises, falls when the loss stays, and is the same for the same losses.
func TestPlateauFollowsTheLoss(t *testing.T) {
	trace := func() []float64 {
		r := rand.New(rand.NewPCG(6, 6))
		p := Plateau{Factor: 0.5, Patience: 3, Every: 5, Epsilon: 0.01}
		var out []float64
		for i := range 400 {
			out = append(out, p.LR(i, 400))
			loss := max(1-float64(i)/100, 0.2) + 0.001*r.Float64()
			if i == 200 {
				loss = math.NaN()
			}
			p.Observe(i, loss, 0)
		}
		return out
	}
	a := trace()
	for i := 1; i < len(a); i++ {
		if a[i] > a[i-1] {
			t.Fatalf("the rate rises from %g to %g", a[i-1], a[i])
		}
	}
	if a[80] != 1 || a[399] > 1.0/8 {
		t.Errorf("the rate is %g while the loss falls and %g long after", a[80], a[399])
	}
	if !slices.Equal(a, trace()) {
		t.Error("the same losses give other rates")
	}
}

func TestPlateauThatRaisesTheRateIsRefused(t *testing.T) {
	good := Plateau{Factor: 0.5, Patience: 3, Every: 5, Epsilon: 0.01}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for _, bad := range []Plateau{{}, {Factor: 1}, {Factor: 2}, {Factor: math.NaN()}, {Factor: 0.5, Patience: -1}, {Factor: 0.5, Every: -1}, {Factor: 0.5, Epsilon: 1}, {Factor: 0.5, Epsilon: math.NaN()}} {
		if bad.Check() == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}
