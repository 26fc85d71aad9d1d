package kernel

import (
	"fmt"

	"orrery/internal/names"
)

// BLAS multiplies matrices. A value belongs to one goroutine at a time.
type BLAS interface {
	// GemmNT computes c = a bᵀ for a of m×k, b of n×k and c of m×n. Rows of a, b and
	// c begin lda, ldb and ldc numbers apart.
	GemmNT(c, a, b []float32, m, n, k, ldc, lda, ldb int)
	// GemmNN computes c = a b for a of m×k, b of k×n and c of m×n.
	GemmNN(c, a, b []float32, m, n, k, ldc, lda, ldb int)
	// TileRows returns how many rows of b a worker should multiply in one call of
	// GemmNT, for rows of k numbers.
	TileRows(k int) int
}

// BLASNames are the names that [New] knows.
var BLASNames = []string{"auto", "gonum", "openblas"}

// openBLAS returns what makes a BLAS for each worker, and its name with its version.
// Auto is OpenBLAS where it is installed and gonum elsewhere.
func openBLAS(name string) (make func() BLAS, description string, err error) {
	switch name {
	case "gonum":
		return newGonum, "gonum", nil
	case "openblas":
		return loadOpenBLAS()
	case "auto", "":
		if make, description, err := loadOpenBLAS(); err == nil {
			return make, description, nil
		}
		return newGonum, "gonum", nil
	}
	return nil, "", fmt.Errorf("kernel: %w", names.Unknown("BLAS", name, BLASNames))
}
