package cpu

import (
	"fmt"

	"orrery/calibrate"
)

// plan returns all points.
func (b *bench) plan() ([]*point, error) {
	quick := b.o.Quick
	points := b.gemms(quick)
	points = append(points, b.prefills(quick)...)
	points = append(points, b.decodes(quick)...)
	points = append(points, b.elementwise()...)
	points = append(points, b.norms()...)
	points = append(points, b.copies()...)
	iterations, err := b.iterations(quick)
	return append(points, iterations...), err
}

// ladder is one of two lists of sizes.
func ladder(quick bool, short, long []int) []int {
	if quick {
		return short
	}
	return long
}

// columns are the columns of the tables that this package fills, by operator: those of
// words and those of sizes.
var columns = map[string]struct{ words, sizes []string }{
	"gemm":              {nil, []string{"b", "m", "n", "k"}},
	"attention_prefill": {[]string{"kv_dtype"}, []string{"batch", "q_heads", "kv_heads", "head_dim", "q_len", "kv_len", "causal"}},
	"attention_decode":  {[]string{"kv_dtype"}, []string{"batch", "q_heads", "kv_heads", "head_dim", "kv_len"}},
	"elementwise":       {[]string{"fn"}, []string{"elems", "reads", "writes"}},
	"rownorm":           {[]string{"fn"}, []string{"rows", "cols"}},
}

// recorder returns what adds a row to the table of an operator. Sizes are in the order
// of columns; the operator's own order may be another. What package calibrate has no
// table for is left out, since no file could hold it.
func recorder(operator, word string, sizes ...int) func(*calibrate.Measured, float64) {
	return func(m *calibrate.Measured, seconds float64) {
		o, ok := calibrate.FindOperator(operator)
		if !ok {
			return
		}
		r := calibrate.Row{GPU: GPU, DType: dtype, Source: Source, Seconds: seconds}
		for i, name := range o.Words {
			if name == columns[operator].words[i] {
				r.Words[i] = word
			}
		}
		for i, name := range o.Sizes {
			for j, c := range columns[operator].sizes {
				if c == name {
					r.Args[i] = float64(sizes[j])
				}
			}
		}
		m.Rows[operator] = append(m.Rows[operator], r)
	}
}

// gemms are the projections of the model and some general shapes over numbers of rows.
func (b *bench) gemms(quick bool) []*point {
	c := &b.o.Model
	shapes := [][2]int{ // outputs and inputs
		{(c.Heads + 2*c.KVHeads) * c.HeadDim, c.Hidden},
		{c.Hidden, c.Heads * c.HeadDim},
		{2 * c.Intermediate, c.Hidden},
		{c.Hidden, c.Intermediate},
		{c.Vocab, c.Hidden},
	}
	rows := ladder(quick, []int{1, 2, 4, 8, 16, 32, 64, 128, 256}, []int{1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512})
	var points []*point
	seen := map[[3]int]bool{}
	add := func(m, n, k int) {
		if !seen[[3]int{m, n, k}] {
			seen[[3]int{m, n, k}] = true
			points = append(points, b.gemm(m, n, k))
		}
	}
	for _, s := range shapes {
		for _, m := range rows {
			add(m, s[0], s[1])
		}
	}
	for _, m := range ladder(quick, []int{1, 16, 128}, []int{1, 2, 4, 8, 16, 32, 64, 128, 256}) {
		add(m, 3072, 768)
		add(m, 768, 3072)
		add(m, 2048, 2048)
	}
	for _, n := range ladder(quick, []int{64, 256, 512}, []int{64, 100, 128, 256, 333, 512, 777, 1024}) {
		add(n, n, n)
	}
	return points
}

func (b *bench) gemm(m, n, k int) *point {
	x, y := newPool(m*k, 2).data, make([]float32, m*n)
	return &point{
		run: func() error {
			b.k.Linear(y, x, b.weights.next(n*k), m, n, k)
			return nil
		},
		record: recorder("gemm", "", 1, m, n, k),
		flops:  2 * float64(m) * float64(n) * float64(k),
		bytes:  4 * (float64(m)*float64(k) + float64(n)*float64(k) + float64(m)*float64(n)),
	}
}

// rowLadder is the numbers of rows for operators that take microseconds.
var rowLadder = []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 2048}

// elementwise are the additions to the residual stream and the activation, for numbers of
// rows, which lie in the caches as after the projection before them.
func (b *bench) elementwise() []*point {
	c := &b.o.Model
	var points []*point
	for _, rows := range rowLadder {
		x, y := newPool(rows*c.Hidden, 2).data, make([]float32, rows*c.Hidden)
		points = append(points, &point{
			run: func() error {
				clear(y[:1]) // keeps sums from growing without end
				b.k.Add(y, x)
				return nil
			},
			record: recorder("elementwise", "add", rows*c.Hidden, 2, 1),
		})
		gateUp, gated := newPool(2*rows*c.Intermediate, 2).data, make([]float32, rows*c.Intermediate)
		points = append(points, &point{
			run: func() error {
				b.k.SiLUMul(gated, gateUp, rows, c.Intermediate)
				return nil
			},
			record: recorder("elementwise", "silu_mul", rows*c.Intermediate, 2, 1),
		})
	}
	return points
}

// norms are RMS norms of the residual stream and softmaxes over contexts.
func (b *bench) norms() []*point {
	c := &b.o.Model
	var points []*point
	for _, rows := range rowLadder {
		x, y, gain := newPool(rows*c.Hidden, 2).data, make([]float32, rows*c.Hidden), newPool(c.Hidden, 3).data
		points = append(points, &point{
			run: func() error {
				b.k.RMSNorm(y, x, gain, rows, c.Hidden)
				return nil
			},
			record: recorder("rownorm", "rmsnorm", rows, c.Hidden),
		})
	}
	for _, cols := range []int{16, 64, 256, 1024, 4096} {
		for _, rows := range []int{1, 4, 16, 64, 256} {
			x := newPool(rows*cols, 2).data
			points = append(points, &point{
				run: func() error {
					b.k.Softmax(x, rows, cols)
					return nil
				},
				record: recorder("rownorm", "softmax", rows, cols),
			})
		}
	}
	return points
}

// copies copy memory from one place to another, from what fits the first cache to what
// fits none.
func (b *bench) copies() []*point {
	last := 64 << 20 // bytes of both places together; four times the last cache, which is shared
	last = max(last, 4*int(b.host.cache))
	var points []*point
	for bytes := 16 << 10; bytes <= last; bytes *= 4 {
		n := bytes / 8
		from, to := newPool(n, 2).data, make([]float32, n)
		test, parameter := "copy_bw", fmt.Sprintf("working_set_%dkB", bytes>>10)
		if bytes*4 > last {
			test, parameter = "dram_bw", "copy"
		}
		moved := float64(bytes)
		points = append(points, &point{
			run: func() error {
				b.k.Copy(to, from)
				return nil
			},
			record: func(m *calibrate.Measured, seconds float64) {
				m.Micro = append(m.Micro, micro(test, parameter, moved/seconds/1e9, "GB/s"))
			},
			bytes: moved,
			dram:  bytes*4 > last,
		})
	}
	return points
}

func micro(test, parameter string, value float64, unit string) calibrate.Micro {
	return calibrate.Micro{GPU: GPU, Test: test, Parameter: parameter, Value: calibrate.Round(value), Unit: unit, Source: Source}
}
