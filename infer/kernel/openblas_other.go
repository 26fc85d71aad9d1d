//go:build !(linux || darwin || freebsd)

package kernel

import (
	"fmt"
	"runtime"
)

func loadOpenBLAS() (func() BLAS, string, error) {
	return nil, "", fmt.Errorf("kernel: OpenBLAS cannot be loaded on %s; take gonum", runtime.GOOS)
}
