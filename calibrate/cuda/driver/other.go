//go:build !(linux && (amd64 || arm64))

package driver

import (
	"fmt"
	"runtime"

	"orrery/calibrate/cuda/device"
)

// GPU is a device of this machine, which has none that can be reached.
type GPU struct{ device.Device }

// Open fails: the driver is loaded on Linux only.
func Open(int) (*GPU, error) {
	return nil, &device.Missing{What: fmt.Sprintf("GPUs can be measured on Linux, not on %s/%s", runtime.GOOS, runtime.GOARCH), Do: "run this on a Linux machine with an NVIDIA GPU"}
}

// Close does nothing.
func (g *GPU) Close() error { return nil }

// Watch sees nothing.
func (g *GPU) Watch() (stop func() []device.Fact) { return func() []device.Fact { return nil } }
