//go:build linux && (amd64 || arm64)

package driver

import (
	"errors"

	"orrery/calibrate/cuda/device"
)

// openLibraries opens what there is, and keeps why the rest is not there.
func (g *GPU) openLibraries() {
	g.blas, g.lacks["blas"] = g.openBLAS()
	g.light, g.lacks["light"] = g.openLight()
	g.dnn, g.lacks["dnn"] = g.openDNN()
}

func (g *GPU) closeLibraries() error {
	var err error
	if g.lacks["blas"] == nil && g.blas != nil {
		err = errors.Join(err, g.blas.close(g))
	}
	if g.lacks["light"] == nil && g.light != nil {
		err = errors.Join(err, g.light.close(g))
	}
	if g.lacks["dnn"] == nil && g.dnn != nil {
		err = errors.Join(err, g.dnn.close(g))
	}
	return err
}

// Lacks says why a library's operation cannot be had in a format.
func (g *GPU) Lacks(library, dtype string) error {
	capability := g.info.Capability()
	switch {
	case library == device.Convolutions:
		return g.lacks["dnn"]
	case dtype == "fp8":
		return g.lacks["light"]
	case g.lacks["blas"] != nil:
		return g.lacks["blas"]
	case (dtype == "bf16" || dtype == "tf32") && capability < 80, dtype == "int8" && capability < 75:
		return &device.Missing{What: dtype + " is not known to this GPU"}
	}
	return nil
}

// Product enqueues a product of matrices.
func (g *GPU) Product(p *device.Product) error {
	if err := g.Lacks(device.Products, p.DType); err != nil {
		return err
	}
	if p.DType == "fp8" {
		return g.light.product(g, p)
	}
	return g.blas.product(p)
}

// Convolve enqueues a convolution.
func (g *GPU) Convolve(c *device.Convolution) error {
	if err := g.Lacks(device.Convolutions, c.DType); err != nil {
		return err
	}
	return g.dnn.convolve(c)
}
