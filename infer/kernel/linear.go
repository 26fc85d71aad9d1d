package kernel

// Linear computes y = x wᵀ, a projection of m rows: x is m×k, w n×k, y m×n. Workers
// take tiles of w's rows, so that each weight is read from memory once, whatever m.
func (s *Set) Linear(y, x, w []float32, m, n, k int) {
	tile := s.workers[0].blas.TileRows(k)
	s.linear = linearTask{y, x, w, m, n, k, tile}
	s.each((n+tile-1)/tile, &s.linear)
}

type linearTask struct {
	y, x, w []float32
	m, n, k int
	tile    int
}

func (t *linearTask) do(w *worker, item int) {
	j := item * t.tile
	w.blas.GemmNT(t.y[j:], t.x, t.w[j*t.k:], t.m, min(t.tile, t.n-j), t.k, t.n, t.k, t.k)
}
