package kernel

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func sets(t *testing.T) []*Set {
	var all []*Set
	for _, blas := range []string{"gonum", "openblas"} {
		for _, threads := range []int{1, 3} {
			s, err := New(blas, threads)
			if err != nil {
				t.Log(err)
				continue
			}
			all = append(all, s)
		}
	}
	return all
}

func random(n int, stream uint64) []float32 {
	x := make([]float32, n)
	Randomize(x, 1, 42, stream)
	return x
}

// exp32 is within 2e-7 of e to the x wherever the result is a normal number, and never
// anything but a small number below.
func TestExp32(t *testing.T) {
	worst := 0.0
	for x := float32(-87.3); x < 88; x += 0.00137 {
		want := math.Exp(float64(x))
		worst = max(worst, math.Abs(float64(exp32(x))-want)/want)
	}
	if worst > 2e-7 {
		t.Errorf("relative error %.3g, want 2e-7 or less", worst)
	}
	if exp32(0) != 1 {
		t.Errorf("e to the 0 is %g", exp32(0))
	}
	for _, x := range []float32{-88, -1000, float32(math.Inf(-1))} {
		if exp32(x) != 0 {
			t.Errorf("e to the %g is %g, want 0", x, exp32(x))
		}
	}
}

// Every number of a projection is the inner product of its row and its column, whatever
// tiles and kernels the shape leads to.
func TestLinear(t *testing.T) {
	for _, s := range sets(t) {
		rapid.Check(t, func(t *rapid.T) {
			m, n, k := rapid.IntRange(1, 40).Draw(t, "m"), rapid.IntRange(1, 700).Draw(t, "n"), rapid.IntRange(1, 80).Draw(t, "k")
			x, w, y := random(m*k, 1), random(n*k, 2), make([]float32, m*n)
			s.Linear(y, x, w, m, n, k)
			for i := range m {
				for j := range n {
					var want float64
					for l := range k {
						want += float64(x[i*k+l]) * float64(w[j*k+l])
					}
					if !(math.Abs(float64(y[i*n+j])-want) < 1e-5*float64(k)) {
						t.Fatalf("%s, %d threads: y[%d][%d] is %g, want %g", s.BLAS(), s.Threads(), i, j, y[i*n+j], want)
					}
				}
			}
		})
	}
}

// Softmax sums to 1, keeps the order, and ignores what is added to all of a row.
func TestSoftmax(t *testing.T) {
	s := sets(t)[1]
	rapid.Check(t, func(t *rapid.T) {
		rows, cols := rapid.IntRange(1, 50).Draw(t, "rows"), rapid.IntRange(1, 200).Draw(t, "cols")
		shift := float32(rapid.IntRange(-1000, 1000).Draw(t, "shift"))
		x := random(rows*cols, 3)
		got, moved := append([]float32(nil), x...), make([]float32, len(x))
		for i, v := range x {
			moved[i] = v + shift
		}
		s.Softmax(got, rows, cols)
		s.Softmax(moved, rows, cols)
		for r := range rows {
			sum := 0.0
			for i := r * cols; i < (r+1)*cols; i++ {
				sum += float64(got[i])
				// Adding a thousand costs a number from -1 to 1 ten bits.
				if math.Abs(float64(got[i]-moved[i])) > 1e-3*float64(got[i]) {
					t.Fatalf("%g became %g when all were moved by %g", got[i], moved[i], shift)
				}
				if i > r*cols && (x[i] > x[i-1]) != (got[i] > got[i-1]) && math.Abs(float64(x[i]-x[i-1])) > 1e-5 {
					t.Fatalf("the order of %g and %g is lost", x[i-1], x[i])
				}
			}
			if math.Abs(sum-1) > 1e-5 {
				t.Fatalf("row %d sums to %g", r, sum)
			}
		}
	})
}

// A normed row has a mean square of 1 times its gain, and its scale does not matter.
func TestRMSNorm(t *testing.T) {
	s := sets(t)[1]
	rapid.Check(t, func(t *rapid.T) {
		rows, cols := rapid.IntRange(1, 300).Draw(t, "rows"), rapid.IntRange(1, 100).Draw(t, "cols")
		x, y, gain := random(rows*cols, 4), make([]float32, rows*cols), make([]float32, cols)
		for i := range gain {
			gain[i] = 3
		}
		for i := range x {
			x[i] *= 100 // far above the epsilon
		}
		s.RMSNorm(y, x, gain, rows, cols)
		for r := range rows {
			var squares, in float64
			for c := range cols {
				squares += float64(y[r*cols+c]) * float64(y[r*cols+c])
				in += float64(x[r*cols+c]) * float64(x[r*cols+c])
			}
			if in > 1 && math.Abs(squares/float64(cols)-9) > 1e-3 {
				t.Fatalf("row %d of %d numbers has a mean square of %g, want 9", r, cols, squares/float64(cols))
			}
		}
	})
}

func TestElementwise(t *testing.T) {
	s := sets(t)[1]
	for _, rows := range []int{1, 7, 900} {
		const cols = 52
		x, y := random(2*rows*cols, 5), make([]float32, rows*cols)
		s.SiLUMul(y, x, rows, cols)
		for r := range rows {
			for c := range cols {
				g, up := float64(x[2*r*cols+c]), float64(x[(2*r+1)*cols+c])
				if want := g / (1 + math.Exp(-g)) * up; math.Abs(float64(y[r*cols+c])-want) > 1e-6 {
					t.Fatalf("silu(%g)*%g is %g, want %g", g, up, y[r*cols+c], want)
				}
			}
		}
		sum, copied := append([]float32(nil), y...), make([]float32, len(y))
		s.Add(sum, x[:len(y)])
		s.Copy(copied, sum)
		for i := range sum {
			if copied[i] != y[i]+x[i] {
				t.Fatalf("%g and %g make %g", y[i], x[i], copied[i])
			}
		}
	}
}

// Gates far from zero do not overflow.
func TestSiLUOfHugeGates(t *testing.T) {
	s := sets(t)[0]
	y := make([]float32, 2)
	s.SiLUMul(y, []float32{-1e30, 1e30, 1, 1}, 1, 2)
	if y[0] > 0 || y[0] < -1 || y[1] != 1e30 {
		t.Errorf("silu of -1e30 and 1e30 is %g", y)
	}
}
