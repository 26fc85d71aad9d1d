package kernel

import "gonum.org/v1/gonum/blas/gonum"

// goBLAS multiplies by gonum's vector kernels (SSE on amd64), which do one thread's
// work at 27 GFLOP/s on a Zen 5 core where gonum's Sgemm reaches 17: Sgemm cuts
// rows into pieces of 64, and at m of 1 it hands work to goroutines that wait.
type goBLAS struct{ gonum.Implementation }

func newGonum() BLAS { return goBLAS{} }

// rowGroup is how many rows of a share one pass over a row of b. Four rows of a of
// 1408 numbers and the row of b fit an L1 cache of 32 KB.
const rowGroup = 4

// GemmNT computes every number of c as one dot product, so that it does not depend on
// m. Dot products of rows that begin 16 bytes apart or a multiple of it are
// summed in one order, whichever rows they are.
func (g goBLAS) GemmNT(c, a, b []float32, m, n, k, ldc, lda, ldb int) {
	for i0 := 0; i0 < m; i0 += rowGroup {
		i1 := min(i0+rowGroup, m)
		for j := range n {
			row := b[j*ldb : j*ldb+k]
			for i := i0; i < i1; i++ {
				c[i*ldc+j] = g.Sdot(k, a[i*lda:i*lda+k], 1, row, 1)
			}
		}
	}
}

// GemmNN adds up each row of c in the order of b's rows, and passes over zeros of a,
// of which a causal mask leaves many.
func (g goBLAS) GemmNN(c, a, b []float32, m, n, k, ldc, lda, ldb int) {
	for i := range m {
		row := c[i*ldc : i*ldc+n]
		clear(row)
		for l, x := range a[i*lda : i*lda+k] {
			if x != 0 {
				g.Saxpy(n, x, b[l*ldb:l*ldb+n], 1, row, 1)
			}
		}
	}
}

// TileRows keeps a tile of b at 64 KiB, so that all rows of a meet it in the L2 cache.
func (goBLAS) TileRows(k int) int { return max(8, 16<<10/k) }
