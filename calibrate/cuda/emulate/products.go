//go:build linux && (amd64 || arm64)

package emulate

import (
	"orrery/calibrate/cuda/device"
	"orrery/calibrate/cuda/number"
)

// Lacks says that there are no libraries for convolutions, so that the kernel of our own
// is run.
func (d *Device) Lacks(library, dtype string) error {
	if library == device.Convolutions {
		return &device.Missing{What: "cuDNN is not emulated"}
	}
	return nil
}

// Convolve is not emulated.
func (d *Device) Convolve(*device.Convolution) error { return d.Lacks(device.Convolutions, "") }

// Product computes a product of matrices by its definition.
func (d *Device) Product(p *device.Product) error {
	out := device.OutputOf(p.DType)
	for b := range p.Batch {
		x, err := d.matrix(p.X, b, p.M, p.K, p.DType)
		if err != nil {
			return err
		}
		w, err := d.matrix(p.W, b, p.N, p.K, p.DType)
		if err != nil {
			return err
		}
		y := make([]byte, 0, p.M*p.N*number.Bytes(out))
		for i := range p.M {
			for j := range p.N {
				sum := 0.0
				for k := range p.K {
					sum += x[i*p.K+k] * w[j*p.K+k]
				}
				y = number.Append(y, out, sum)
			}
		}
		if err := d.Upload(p.Y.Offset(int64(b*p.M*p.N), number.Bytes(out)), y); err != nil {
			return err
		}
	}
	return nil
}

// matrix reads the b-th matrix at p as numbers.
func (d *Device) matrix(p device.Ptr, b, rows, cols int, dtype string) ([]float64, error) {
	width := number.Bytes(dtype)
	data := make([]byte, rows*cols*width)
	if err := d.Download(data, p.Offset(int64(b*rows*cols), width)); err != nil {
		return nil, err
	}
	out := make([]float64, rows*cols)
	for i := range out {
		out[i] = number.Decode(dtype, data[i*width:])
	}
	return out, nil
}
