package refine

import (
	"errors"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"

	"orrery/workloads/diffusion/analytic"
)

// Routes are walks in the plane from about (-1, 0) to about (1, 0), around a disc at the origin, in
// so many points at equal times: a mixture of Gaussian processes, one for each route.
type Routes struct {
	Horizon int
	bends   []float64 // how far a route swings out
	weights []float64
	kernel  *mat.SymDense // covariance of one coordinate over the points
}

// The walks. Points deviate from a route by 0.2, alike over an eighth of the way, and by a hundredth
// each by themselves; the start tells a little of which side is taken. The largest deviation of a coordinate
// over all walks is about one, what diffusion models are scaled to.
const (
	Obstacle  = 0.4 // radius
	deviation = 0.2
	alike     = 0.125
	jitter    = 0.01
	hint      = 0.1 // of the bend, in the start
)

// NewRoutes returns walks of so many points, 4 to 64.
func NewRoutes(horizon int) (*Routes, error) {
	if horizon < 4 || horizon > 64 {
		return nil, errors.New("want a horizon of 4 to 64 points")
	}
	r := &Routes{Horizon: horizon, bends: []float64{1.5, 0.9, -0.9, -1.5}, weights: []float64{0.3, 0.2, 0.2, 0.3}}
	r.kernel = mat.NewSymDense(horizon, nil)
	for i := range horizon {
		for j := i; j < horizon; j++ {
			d := r.at(i) - r.at(j)
			k := deviation * deviation * math.Exp(-d*d/(2*alike*alike))
			if i == j {
				k += jitter * jitter
			}
			r.kernel.SetSym(i, j, k)
		}
	}
	return r, nil
}

func (r *Routes) at(i int) float64 { return float64(i) / float64(r.Horizon-1) }

// mean is a route's own point.
func (r *Routes) mean(route, i int) (x, y float64) {
	u := r.at(i)
	return 2*u - 1, r.bends[route] * (math.Sin(math.Pi*u) + hint*(1-u))
}

// gaussian is what is known of some points of one coordinate given others: the covariance of
// points, and the matrix that takes deviations of the known ones to those expected of these.
type gaussian struct {
	gain *mat.Dense
	cov  *mat.SymDense
}

// given conditions points on known ones, of the same process.
func (r *Routes) given(points, known []int) (gaussian, error) {
	a, b, c := mat.NewSymDense(len(known), nil), mat.NewDense(len(points), len(known), nil), mat.NewSymDense(len(points), nil)
	for i, p := range known {
		for j := i; j < len(known); j++ {
			a.SetSym(i, j, r.kernel.At(p, known[j]))
		}
	}
	for i, p := range points {
		for j, k := range known {
			b.Set(i, j, r.kernel.At(p, k))
		}
		for j := i; j < len(points); j++ {
			c.SetSym(i, j, r.kernel.At(p, points[j]))
		}
	}
	var chol mat.Cholesky
	if !chol.Factorize(a) {
		return gaussian{}, errors.New("the points do not differ")
	}
	var solved, explained mat.Dense
	if err := chol.SolveTo(&solved, b.T()); err != nil { // known x points
		return gaussian{}, err
	}
	explained.Mul(b, &solved)
	for i := range points {
		for j := i; j < len(points); j++ {
			c.SetSym(i, j, c.At(i, j)-explained.At(i, j))
		}
	}
	return gaussian{mat.DenseCopyOf(solved.T()), c}, nil
}

// shares returns how likely each route is by known points, which are n in number with
// the coordinates x and y.
func (r *Routes) shares(known []int, x, y []float64) ([]float64, error) {
	n := len(known)
	a := mat.NewSymDense(n, nil)
	for i, p := range known {
		for j := i; j < n; j++ {
			a.SetSym(i, j, r.kernel.At(p, known[j]))
		}
	}
	var chol mat.Cholesky
	if !chol.Factorize(a) {
		return nil, errors.New("the points do not differ")
	}
	logs := make([]float64, len(r.bends))
	most := math.Inf(-1)
	for k := range logs {
		dx, dy := mat.NewVecDense(n, nil), mat.NewVecDense(n, nil)
		for i, p := range known {
			mx, my := r.mean(k, p)
			dx.SetVec(i, x[i]-mx)
			dy.SetVec(i, y[i]-my)
		}
		logs[k] = math.Log(r.weights[k])
		for _, d := range []*mat.VecDense{dx, dy} {
			var s mat.VecDense
			if err := chol.SolveVecTo(&s, d); err != nil {
				return nil, err
			}
			logs[k] -= mat.Dot(d, &s) / 2
		}
		most = max(most, logs[k])
	}
	sum := 0.0
	for k, l := range logs {
		logs[k] = math.Exp(l - most)
		sum += logs[k]
	}
	for k := range logs {
		logs[k] /= sum
	}
	return logs, nil
}

// Start draws where a walk begins.
func (r *Routes) Start(draw *rand.Rand) (x, y float64) {
	u, k := draw.Float64(), 0
	for ; k < len(r.weights)-1 && u >= r.weights[k]; k++ {
		u -= r.weights[k]
	}
	x, y = r.mean(k, 0)
	s := math.Sqrt(r.kernel.At(0, 0))
	return x + s*draw.NormFloat64(), y + s*draw.NormFloat64()
}

// From returns the walks that begin at a point, as a mixture over the points that follow: first all
// x, then all y.
func (r *Routes) From(x, y float64) (*analytic.Mixture, error) {
	n := r.Horizon - 1
	points := make([]int, n)
	for i := range points {
		points[i] = i + 1
	}
	g, err := r.given(points, []int{0})
	if err != nil {
		return nil, err
	}
	shares, err := r.shares([]int{0}, []float64{x}, []float64{y})
	if err != nil {
		return nil, err
	}
	var e mat.EigenSym
	if !e.Factorize(g.cov, true) {
		return nil, errors.New("no eigenvalues")
	}
	var v mat.Dense
	e.VectorsTo(&v)
	values := e.Values(nil)
	var spread []float64
	var vectors [][]float64
	for _, offset := range []int{0, n} {
		for j, value := range values {
			vector := make([]float64, 2*n)
			for i := range n {
				vector[offset+i] = v.At(i, j)
			}
			spread, vectors = append(spread, max(value, 1e-8)), append(vectors, vector)
		}
	}
	m := &analytic.Mixture{}
	for k, share := range shares {
		if share < 1e-9 {
			continue
		}
		c := analytic.Component{Weight: share, Mean: make([]float64, 2*n), Values: spread, Vectors: vectors} // all routes share them
		x0, y0 := r.mean(k, 0)
		for i := range n {
			mx, my := r.mean(k, i+1)
			c.Mean[i], c.Mean[n+i] = mx+g.gain.At(i, 0)*(x-x0), my+g.gain.At(i, 0)*(y-y0)
		}
		m.Components = append(m.Components, c)
	}
	return m, nil
}

// Guess walks on from a point as a sequence model with a short memory does: each next point
// is the mean of what may follow the last few.
func (r *Routes) Guess(x, y float64, memory int) ([]float64, error) {
	n := r.Horizon - 1
	xs, ys := []float64{x}, []float64{y}
	for next := 1; next <= n; next++ {
		from := max(0, next-memory)
		known := make([]int, next-from)
		for i := range known {
			known[i] = from + i
		}
		g, err := r.given([]int{next}, known)
		if err != nil {
			return nil, err
		}
		shares, err := r.shares(known, xs[from:], ys[from:])
		if err != nil {
			return nil, err
		}
		px, py := 0.0, 0.0
		for k, share := range shares {
			mx, my := r.mean(k, next)
			for i, p := range known {
				kx, ky := r.mean(k, p)
				mx += g.gain.At(0, i) * (xs[from+i] - kx)
				my += g.gain.At(0, i) * (ys[from+i] - ky)
			}
			px, py = px+share*mx, py+share*my
		}
		xs, ys = append(xs, px), append(ys, py)
	}
	return append(xs[1:len(xs):len(xs)], ys[1:]...), nil
}

// Hits says whether a walk, the points after its start, goes through the obstacle.
func Hits(walk []float64) bool {
	n := len(walk) / 2
	for i := range n - 1 { // the nearest point of each piece
		ax, ay, bx, by := walk[i], walk[n+i], walk[i+1], walk[n+i+1]
		dx, dy := bx-ax, by-ay
		t := 0.0
		if l := dx*dx + dy*dy; l > 0 {
			t = min(max(-(ax*dx+ay*dy)/l, 0), 1)
		}
		if math.Hypot(ax+t*dx, ay+t*dy) < Obstacle {
			return true
		}
	}
	return false
}
