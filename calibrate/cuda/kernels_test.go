//go:build linux && (amd64 || arm64)

package cuda_test

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"orrery/calibrate/cuda"
	"orrery/calibrate/cuda/device"
	"orrery/calibrate/cuda/emulate"
)

// library is the kernels compiled for this machine's processor, once for all tests.
var library = sync.OnceValues(func() (*emulate.Library, error) {
	folder, err := os.MkdirTemp("", "orrery-kernels")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder) // a loaded library needs no file
	return emulate.Build(folder)
})

func newDevice(t *testing.T) *emulate.Device {
	t.Helper()
	l, err := library()
	var missing *device.Missing
	if errors.As(err, &missing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	dev := emulate.New(l, device.Info{
		Name: "NVIDIA Emulated", Major: 8, SMs: 4, Threads: 512, Shared: 96 << 10, Memory: 1 << 30, Free: 128 << 20, L2: 1 << 16, ClockMHz: 1000,
	})
	t.Cleanup(func() {
		if n := dev.Left(); n > 0 {
			t.Errorf("%d allocations were not freed", n)
		}
	})
	return dev
}

// Every kernel computes what its definition says, whichever thread and block goes
// first, for sizes that fill its tiles and sizes that do not.
func TestKernelsComputeTheirDefinitions(t *testing.T) {
	dev := newDevice(t)
	p := cuda.NewPlanner(dev)
	var points []*cuda.Point
	for _, dtype := range []string{"fp32", "fp16", "bf16"} {
		for _, n := range []int{1, 1023, 4096} {
			points = append(points, p.Add(dtype, n), p.Gelu(dtype, n), p.Scale(dtype, n))
		}
		points = append(points, p.SiLUMul(dtype, 5, 96), p.RoPE(dtype, 7, 3, 64), p.RoPE(dtype, 3, 2, 128))
		for _, fn := range []string{"rmsnorm", "layernorm", "softmax"} {
			points = append(points, p.Row(fn, dtype, 3, 64), p.Row(fn, dtype, 2, 4096+8))
		}
		points = append(points, p.Convolution(dtype, 2, [7]int{3, 12, 70, 3, 2, 1, 1}), p.Convolution(dtype, 1, [7]int{8, 9, 8, 3, 1, 1, 8}), p.Convolution(dtype, 1, [7]int{40, 6, 16, 1, 1, 0, 2}))
		points = append(points, decodes(p, dtype)...)
		if dtype != "fp32" {
			points = append(points, prefills(p, dtype)...)
		}
	}
	for i, point := range points {
		dev.Backward = i%2 == 1
		if err := point.Check(dev); err != nil {
			t.Errorf("%v (backward %v): %v", point, dev.Backward, err)
		}
		dev.Backward = !dev.Backward
		if strings.Contains(point.String(), "fp16") {
			if err := point.Check(dev); err != nil {
				t.Errorf("%v (backward %v): %v", point, dev.Backward, err)
			}
		}
	}
}

func heads(query, kv, dim int) cuda.Heads { return cuda.Heads{Query: query, KV: kv, Dim: dim} }

// decodes have one query and several for a KV head, groups that do not fill a block,
// contexts of one key, within a block, and split over several.
func decodes(p *cuda.Planner, dtype string) []*cuda.Point {
	var points []*cuda.Point
	for _, h := range []cuda.Heads{heads(2, 2, 64), heads(4, 1, 64), heads(3, 1, 128), heads(7, 1, 128), heads(16, 2, 128), heads(29, 1, 64)} {
		for _, keys := range []int{1, 17, 300} {
			points = append(points, p.Decode(dtype, 2, h, keys))
		}
	}
	return append(points, p.Decode(dtype, 1, heads(1, 1, 64), 1500))
}

// prefills have whole and torn tiles of queries and keys, with and without a mask, with
// and without keys before.
func prefills(p *cuda.Planner, dtype string) []*cuda.Point {
	var points []*cuda.Point
	for _, h := range []cuda.Heads{heads(2, 1, 64), heads(2, 2, 128)} {
		for _, size := range [][2]int{{2, 2}, {16, 16}, {33, 33}, {64, 64}, {70, 200}, {130, 131}} {
			points = append(points, p.Prefill(dtype, 1, h, size[0], size[1], true), p.Prefill(dtype, 1, h, size[0], size[1], false))
		}
	}
	return append(points, p.Prefill(dtype, 3, heads(2, 1, 64), 20, 50, true), p.Mixed(dtype, heads(4, 2, 64), 40, 30, 3, 70))
}

// The check notices a kernel that is wrong: here one that lacks its last key.
func TestChecksNoticeWrongResults(t *testing.T) {
	dev := newDevice(t)
	p := cuda.NewPlanner(dev)
	for _, point := range []*cuda.Point{p.Decode("bf16", 1, heads(2, 1, 64), 40), p.Prefill("fp16", 1, heads(2, 1, 64), 20, 40, true), p.Row("softmax", "fp16", 2, 256), p.Add("fp32", 100)} {
		if err := point.Check(broken{dev}); err == nil || !strings.Contains(err.Error(), "should be") {
			t.Errorf("%v: error is %v, want one about a wrong number", point, err)
		}
	}
}

// broken spoils the last whole number of a launch: one key, column or element less.
type broken struct{ *emulate.Device }

func (b broken) Launch(l *device.Launch) error {
	spoilt := *l
	spoilt.Args = append([]device.Arg(nil), l.Args...)
	switch {
	case strings.HasPrefix(l.Kernel, "fill"):
	case strings.HasPrefix(l.Kernel, "decode"), strings.HasPrefix(l.Kernel, "prefill"):
		for i := len(spoilt.Args) - 1; i >= 0; i-- {
			if spoilt.Args[i].Float {
				spoilt.Args[i] = device.Float(0.5) // another scale of the scores
			}
		}
	default:
		spoilt.Args[len(spoilt.Args)-1].Bits -= 8
	}
	return b.Device.Launch(&spoilt)
}
