package cuda

import (
	"math"

	"orrery/calibrate/cuda/device"
	"orrery/calibrate/cuda/kernels"
	"orrery/calibrate/cuda/number"
)

// rows are norms and softmax along the rows of a matrix, one block a row.
func (p *planner) rows() []*point {
	widths := []int{1024, 4096, 5120, 8192, 16384, 65536}
	if p.quick {
		widths = []int{4096, 16384}
	}
	var points []*point
	for _, dtype := range p.formats() {
		for _, fn := range []string{"rmsnorm", "layernorm", "softmax"} {
			for _, cols := range widths {
				for _, n := range p.ladder(1, 1<<14) {
					points = append(points, p.rowOp(fn, dtype, n, cols))
				}
			}
		}
	}
	return points
}

// normEpsilon is that of the kernels.
const normEpsilon = 1e-5

func (p *planner) rowOp(fn, dtype string, rows, cols int) *point {
	n := int64(rows) * int64(cols)
	// A thread takes a vector at a time; more threads than vectors idle.
	block := int(min(1024, max(32, roundUp(ceilDiv(int64(cols), int64(16/number.Bytes(dtype))), 32))))
	return &point{
		table: "rownorm", name: describe(dtype, "fn", fn, "rows", rows, "cols", cols), bytes: 2 * n * int64(number.Bytes(dtype)),
		record: row("rownorm", p.gpu, dtype, Source, words{"fn": fn}, columns{"rows": float64(rows), "cols": float64(cols)}),
		prepare: func(a *arena) (*call, error) {
			ops, err := a.operands(spec{dtype, n, true}, spec{dtype, int64(cols), true}, spec{dtype, int64(cols), true}, spec{dtype, n, false})
			if err != nil {
				return nil, err
			}
			return &call{
				enqueue: func(slot int) error {
					args := []device.Arg{device.Address(ops[3].slot(slot)), device.Address(ops[0].slot(slot))}
					if fn != "softmax" {
						args = append(args, device.Address(ops[1].slot(slot)))
					}
					if fn == "layernorm" {
						args = append(args, device.Address(ops[2].slot(slot)))
					}
					return a.dev.Launch(&device.Launch{Kernel: fn + "_" + kernels.Format(dtype), Grid: [3]int{rows}, Block: [3]int{block}, Args: append(args, device.Int(cols))})
				},
				check: func() error { return checkRows(fn, dtype, ops, rows, cols) },
			}, nil
		},
	}
}

// checkRows holds some numbers of some rows against their definition.
func checkRows(fn, dtype string, ops []operand, rows, cols int) error {
	x, gain, bias, y := &ops[0], &ops[1], &ops[2], &ops[3]
	for _, r := range samples(3, int64(rows)) {
		first := r * int64(cols)
		sum, squares, exponentials := 0.0, 0.0, 0.0
		for i := range int64(cols) {
			v := x.value(first + i)
			sum += v
			squares += v * v
			exponentials += math.Exp(v)
		}
		mean := sum / float64(cols)
		for _, i := range samples(16, int64(cols)) {
			v, want := x.value(first+i), 0.0
			switch fn {
			case "rmsnorm":
				want = v / math.Sqrt(squares/float64(cols)+normEpsilon) * gain.value(i)
			case "layernorm":
				want = (v-mean)/math.Sqrt(squares/float64(cols)-mean*mean+normEpsilon)*gain.value(i) + bias.value(i)
			case "softmax":
				want = math.Exp(v) / exponentials
			}
			// The smallest halves have fewer digits.
			tolerance := (2*number.Epsilon(dtype) + 1e-5) * math.Abs(want)
			if fn == "softmax" {
				tolerance += 0x1p-24
			} else {
				tolerance += 1e-5
			}
			if err := y.expect(first+i, want, tolerance); err != nil {
				return err
			}
		}
	}
	return nil
}
