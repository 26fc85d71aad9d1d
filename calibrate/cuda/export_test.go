package cuda

import (
	"context"

	"orrery/calibrate"
	"orrery/calibrate/cuda/device"
	"orrery/calibrate/cuda/kernels"
)

// What tests on an emulated device need of the inside.
type (
	Point   = point
	Planner = planner
	Heads   = kernels.Heads
	Layer   = layer
)

func NewPlanner(dev device.Device) *Planner {
	return &planner{lacks: dev.Lacks, info: dev.Info(), gpu: BoardName(dev.Info().Name)}
}

func (p *planner) GEMM(dtype string, b, m, n, k int) *Point { return p.gemm(dtype, b, m, n, k) }
func (p *planner) Decode(dtype string, batch int, h Heads, keys int) *Point {
	return p.decode(dtype, batch, h, keys)
}
func (p *planner) Prefill(dtype string, batch int, h Heads, queries, keys int, causal bool) *Point {
	return p.prefill(dtype, batch, h, queries, keys, causal)
}
func (p *planner) Mixed(dtype string, h Heads, chunk, before, n, keys int) *Point {
	return p.mix(dtype, h, chunk, before, n, keys)
}
func (p *planner) Add(dtype string, n int) *Point { return p.map2(dtype, n) }
func (p *planner) Gelu(dtype string, n int) *Point {
	return p.map1("gelu", "gelu", dtype, n, device.Graph)
}
func (p *planner) Scale(dtype string, n int) *Point {
	return p.map1("scale_graph", "scale", dtype, n, device.Graph)
}
func (p *planner) SiLUMul(dtype string, rows, cols int) *Point { return p.siluMul(dtype, rows, cols) }
func (p *planner) RoPE(dtype string, rows, heads, dim int) *Point {
	return p.rope(dtype, rows, heads, dim)
}
func (p *planner) Row(fn, dtype string, rows, cols int) *Point { return p.rowOp(fn, dtype, rows, cols) }
func (p *planner) Convolution(dtype string, n int, l [7]int) *Point {
	return p.convolution(dtype, n, layer{l[0], l[1], l[2], l[3], l[4], l[5], l[6]})
}
func (p *planner) Micros(bytes int64) []*Point {
	return []*Point{p.launches("graph_launch_min", device.Graph), p.write(bytes), p.copy("dram_bw", "copy", bytes), p.read("dram_bw", "read", bytes), p.transfer("h2d_bw", 1, true), p.transfer("d2h_bw", 1, false)}
}

// Check prepares the point with two copies of its operands, runs both, and checks.
func (p *point) Check(dev device.Device) error {
	a, err := newArena(dev, 8<<20)
	if err != nil {
		return err
	}
	defer a.free()
	a.slots = 2
	c, err := p.prepare(a)
	if err != nil {
		return err
	}
	for i := range 2 {
		if err := c.enqueue(i); err != nil {
			return err
		}
	}
	return c.check()
}

// MeasurePoints measures points as one operation.
func MeasurePoints(ctx context.Context, dev device.Device, points []*Point, o Options) (*calibrate.Measured, error) {
	return measure(ctx, dev, NewPlanner(dev), []group{{"test", points}}, &o)
}
