package cuda

import (
	"math"

	"orrery/calibrate/cuda/device"
	"orrery/calibrate/cuda/kernels"
	"orrery/calibrate/cuda/number"
)

// threads is the size of the blocks of kernels without shared memory.
const threads = 256

// vectors returns the grid and block for n numbers, 16 bytes a thread.
func vectors(n int64, dtype string) (grid, block [3]int) {
	perBlock := int64(threads * 16 / number.Bytes(dtype))
	return [3]int{int(ceilDiv(n, perBlock))}, [3]int{threads}
}

// streams are the kernels that treat each element by itself. scale_stream and
// scale_graph run on the same operands again and again, so that small ones are in L2,
// and differ in how they are launched.
func (p *planner) streams() []*point {
	var points []*point
	for i, dtype := range p.formats() {
		for _, n := range p.ladder(1<<10, 1<<27) {
			points = append(points, p.map1("gelu", "gelu", dtype, n, device.Graph), p.map2(dtype, n), p.siluMul(dtype, n/4096, 4096), p.rope(dtype, n/4096, 32, 128))
			if i == 0 {
				points = append(points, p.map1("scale_graph", "scale", dtype, n, device.Graph), p.map1("scale_stream", "scale", dtype, n, device.Stream))
			}
		}
	}
	return present(points)
}

func present(points []*point) []*point {
	var out []*point
	for _, p := range points {
		if p != nil {
			out = append(out, p)
		}
	}
	return out
}

// stream makes a point of an element-wise kernel over n elements, with the input sizes
// given in elements.
func (p *planner) stream(fn, dtype string, n int, reads, inputs []int64, kernel func(ops []operand, slot int) *device.Launch, value func(ops []operand, i int64) float64) *point {
	moved := int64(n)
	specs := make([]spec, 0, len(inputs)+1)
	for _, in := range inputs {
		specs = append(specs, spec{dtype, in, true})
		moved += in
	}
	specs = append(specs, spec{dtype, int64(n), false})
	return &point{
		table: "elementwise", name: describe(dtype, "fn", fn, "elems", n), bytes: moved * int64(number.Bytes(dtype)),
		record: row("elementwise", p.gpu, dtype, Source, words{"fn": fn}, columns{"elems": float64(n), "reads": float64(reads[0]), "writes": 1}),
		prepare: func(a *arena) (*call, error) {
			ops, err := a.operands(specs...)
			if err != nil {
				return nil, err
			}
			return &call{
				enqueue: func(slot int) error { return a.dev.Launch(kernel(ops, slot)) },
				check: func() error {
					y := &ops[len(ops)-1]
					for _, i := range samples(64, y.n) {
						want := value(ops, i)
						if err := y.expect(i, want, 2*number.Epsilon(dtype)*math.Abs(want)+1e-6); err != nil {
							return err
						}
					}
					return nil
				},
			}, nil
		},
	}
}

func (p *planner) map1(fn, kernel, dtype string, n int, mode device.Mode) *point {
	grid, block := vectors(int64(n), dtype)
	pt := p.stream(fn, dtype, n, []int64{1}, []int64{int64(n)}, func(ops []operand, slot int) *device.Launch {
		return &device.Launch{Kernel: kernel + "_" + kernels.Format(dtype), Grid: grid, Block: block,
			Args: []device.Arg{device.Address(ops[1].slot(slot)), device.Address(ops[0].slot(slot)), device.Int(n)}}
	}, func(ops []operand, i int64) float64 {
		x := ops[0].value(i)
		if kernel == "scale" {
			return 1.5 * x
		}
		return 0.5 * x * (1 + math.Erf(x/math.Sqrt2))
	})
	pt.mode, pt.cached = mode, kernel == "scale"
	return pt
}

func (p *planner) map2(dtype string, n int) *point {
	grid, block := vectors(int64(n), dtype)
	return p.stream("add", dtype, n, []int64{2}, []int64{int64(n), int64(n)}, func(ops []operand, slot int) *device.Launch {
		return &device.Launch{Kernel: "add_" + kernels.Format(dtype), Grid: grid, Block: block,
			Args: []device.Arg{device.Address(ops[2].slot(slot)), device.Address(ops[0].slot(slot)), device.Address(ops[1].slot(slot)), device.Int(n)}}
	}, func(ops []operand, i int64) float64 { return ops[0].value(i) + ops[1].value(i) })
}

func (p *planner) siluMul(dtype string, rows, cols int) *point {
	if rows == 0 {
		return nil
	}
	n := rows * cols
	grid, block := vectors(int64(n), dtype)
	return p.stream("silu_mul", dtype, n, []int64{2}, []int64{2 * int64(n)}, func(ops []operand, slot int) *device.Launch {
		return &device.Launch{Kernel: "silu_mul_" + kernels.Format(dtype), Grid: grid, Block: block,
			Args: []device.Arg{device.Address(ops[1].slot(slot)), device.Address(ops[0].slot(slot)), device.Int(rows), device.Int(cols)}}
	}, func(ops []operand, i int64) float64 {
		gate := i/int64(cols)*int64(cols) + i
		g, u := ops[0].value(gate), ops[0].value(gate+int64(cols))
		return g / (1 + math.Exp(-g)) * u
	})
}

// ropePositions bounds the table of angles; longer inputs are several sequences.
const ropePositions = 4096

func (p *planner) rope(dtype string, rows, heads, dim int) *point {
	if rows == 0 {
		return nil
	}
	sequences := ceilDiv(rows, ropePositions)
	rows = min(rows, ropePositions)
	n := rows * sequences * heads * dim
	perThread := 16 / number.Bytes(dtype) * 2
	var table device.Ptr
	pt := p.stream("rope", dtype, n, []int64{1}, []int64{int64(n)}, func(ops []operand, slot int) *device.Launch {
		// A sequence's rows have the angles of their positions: the last sequences of
		// a long input are laid out as more heads of the same rows.
		return &device.Launch{Kernel: "rope_" + kernels.Format(dtype), Grid: [3]int{ceilDiv(n/perThread, threads)}, Block: [3]int{threads},
			Args: []device.Arg{device.Address(ops[1].slot(slot)), device.Address(ops[0].slot(slot)), device.Address(table), device.Int(rows), device.Int(heads * sequences), device.Int(dim)}}
	}, func(ops []operand, i int64) float64 {
		head, d := i/int64(dim), int(i%int64(dim))
		c, s := kernels.Angle(int(head)/(heads*sequences), d%(dim/2), dim)
		x := ops[0].value(i)
		if d < dim/2 {
			return x*float64(c) - ops[0].value(i+int64(dim/2))*float64(s)
		}
		return x*float64(c) + ops[0].value(i-int64(dim/2))*float64(s)
	})
	inner := pt.prepare
	pt.prepare = func(a *arena) (*call, error) {
		var err error
		if table, err = a.table(kernels.Angles(rows, dim)); err != nil {
			return nil, err
		}
		return inner(a)
	}
	return pt
}
