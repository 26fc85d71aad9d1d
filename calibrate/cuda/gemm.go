package cuda

import (
	"cmp"
	"math"
	"slices"

	"orrery/calibrate/cuda/device"
	"orrery/calibrate/cuda/number"
	"orrery/workloads/llm"
)

// gemms are the projections of models, split over devices, with as many tokens as
// iterations have. Half-precision formats have all of them, the others a third.
func (p *planner) gemms() []*point {
	var points []*point
	shapes := projections(p.models, p.quick)
	for i, dtype := range []string{p.half(), "fp16", "fp32", "tf32", "int8", "fp8"} {
		if i == 1 && dtype == p.half() || p.lacks(device.Products, dtype) != nil {
			continue
		}
		for j, s := range shapes {
			if i > 0 && j%3 != 0 {
				continue
			}
			for _, m := range p.ladder(1, 8192) {
				points = append(points, p.gemm(dtype, 1, m, s[0], s[1]))
			}
		}
	}
	return points
}

// projections returns the shapes n×k of the models' weights for tensor-parallel degrees
// that they can be split in, smallest first, none twice.
func projections(models []*llm.Model, quick bool) [][2]int {
	degrees := []int{1, 2, 4, 8}
	if quick {
		degrees = []int{1}
	}
	var shapes [][2]int
	for _, m := range models {
		for _, d := range degrees {
			if m.CanSplit(llm.Parallel{Tensor: d, Pipeline: 1}) != nil {
				continue
			}
			up := m.Intermediate / d
			if m.Gated {
				up *= 2
			}
			shapes = append(shapes,
				[2]int{(m.QueryWidth() + 2*m.KVWidth()) / d, m.Hidden}, [2]int{m.Hidden, m.QueryWidth() / d},
				[2]int{up, m.Hidden}, [2]int{m.Hidden, m.Intermediate / d}, [2]int{ceilDiv(m.Vocab, d), m.Hidden})
		}
	}
	// Products of 8- and 16-bit numbers want sizes that are multiples of 16 bytes.
	for i := range shapes {
		shapes[i] = [2]int{int(roundUp(int64(shapes[i][0]), 16)), int(roundUp(int64(shapes[i][1]), 16))}
	}
	slices.SortFunc(shapes, func(a, b [2]int) int { return cmp.Or(a[0]*a[1]-b[0]*b[1], a[0]-b[0]) })
	return slices.Compact(shapes)
}

func (p *planner) gemm(dtype string, b, m, n, k int) *point {
	width, out := int64(number.Bytes(dtype)), device.OutputOf(dtype)
	x, w, y := int64(b*m*k), int64(b)*int64(n)*int64(k), int64(b)*int64(m)*int64(n)
	return &point{
		table: "gemm", name: describe(dtype, "b", b, "m", m, "n", n, "k", k),
		bytes:  (x+w)*width + y*int64(number.Bytes(out)),
		record: row("gemm", p.gpu, dtype, Source, nil, columns{"b": float64(b), "m": float64(m), "n": float64(n), "k": float64(k)}),
		prepare: func(a *arena) (*call, error) {
			ops, err := a.operands(spec{dtype, x, true}, spec{dtype, w, true}, spec{out, y, false})
			if err != nil {
				return nil, err
			}
			return &call{
				enqueue: func(slot int) error {
					return a.dev.Product(&device.Product{DType: dtype, Batch: b, M: m, N: n, K: k, X: ops[0].slot(slot), W: ops[1].slot(slot), Y: ops[2].slot(slot)})
				},
				check: func() error { return checkProduct(dtype, &ops[0], &ops[1], &ops[2], m, n, k) },
			}, nil
		},
	}
}

// checkProduct holds some numbers of a product against their definition.
func checkProduct(dtype string, x, w, y *operand, m, n, k int) error {
	for _, at := range samples(16, y.n) {
		b, i, j := at/int64(m*n), at/int64(n)%int64(m), at%int64(n)
		sum, size, squares := 0.0, 0.0, 0.0
		for t := range int64(k) {
			v := x.value((b*int64(m)+i)*int64(k)+t) * w.value((b*int64(n)+j)*int64(k)+t)
			sum += v
			size += math.Abs(v)
			squares += v * v
		}
		// Parts of a split sum may be rounded to the format of the result.
		tolerance := 4 * number.Epsilon(y.dtype) * (math.Abs(sum) + math.Sqrt(squares))
		tolerance += accumulation(dtype) * size
		if err := y.expect(at, sum, tolerance); err != nil {
			return err
		}
	}
	return nil
}

// accumulation returns how far a sum of products may be off, relative to the sum of
// their sizes: 32-bit accumulators lose a little, those of 8-bit tensor cores more
// (13 bits of fraction on sm_90), and TF32 drops digits of the factors.
func accumulation(dtype string) float64 {
	switch dtype {
	case "int8":
		return 0
	case "fp8":
		return 0x1p-12
	case "tf32":
		return 0x1p-10
	}
	return 1e-5
}

// spec is an operand that a call wants.
type spec struct {
	dtype  string
	n      int64
	filled bool
}

// operands takes memory for several operands.
func (a *arena) operands(specs ...spec) ([]operand, error) {
	out := make([]operand, len(specs))
	for i, s := range specs {
		take := a.result
		if s.filled {
			take = a.input
		}
		var err error
		if out[i], err = take(s.dtype, s.n); err != nil {
			return nil, err
		}
	}
	return out, nil
}
