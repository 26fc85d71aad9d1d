package cuda

import (
	"errors"
	"fmt"
	"strings"

	"orrery/calibrate"
	"orrery/calibrate/cuda/device"
)

// point is one call whose time is measured.
type point struct {
	table  string // of the measurement file
	name   string // the rest in words
	bytes  int64  // that a call reads and writes, all operands together
	cached bool   // operands are the same in each call, and stay in L2 if they fit
	mode   device.Mode

	prepare func(a *arena) (*call, error)
	record  func(m *calibrate.Measured, seconds float64)
}

func (p *point) String() string { return p.table + " " + p.name }

// call is a point in the memory of the device. What one stream does not do alone has
// seconds in the place of enqueue: the time of some calls.
type call struct {
	enqueue func(slot int) error
	seconds func(calls int) (float64, error)
	check   func() error // of what slot 0 computed
}

// Rotation: a call finds its operands in DRAM if those of the calls between have pushed
// them out of L2. Points of the same group and a flush before each sample do the rest.
const (
	rotation = 3   // times L2 that the slots of a point take together
	mostRuns = 128 // calls of a sample
)

// slots returns how many copies of its operands a point gets.
func (p *point) slots(l2 int64) int {
	if p.cached {
		return 1
	}
	return int(min(max(1, ceilDiv(rotation*l2, max(1, p.bytes))), mostRuns))
}

// columns are the numbers of a row, words those that are no numbers, by column.
type (
	columns map[string]float64
	words   map[string]string
)

// Source is what rows say about who measured them.
const Source = "orrery-cuda"

// row makes a recorder of a row of an operator's table, measured by Orrery's kernels or
// the vendor's libraries if source is [Source].
func row(table, gpu, dtype, source string, w words, c columns) func(*calibrate.Measured, float64) {
	return func(m *calibrate.Measured, seconds float64) {
		o, ok := calibrate.FindOperator(table)
		if !ok {
			return
		}
		r := calibrate.Row{GPU: gpu, DType: dtype, Source: source, Seconds: seconds}
		for i, name := range o.Words {
			r.Words[i] = w[name]
		}
		for i, name := range o.Sizes {
			r.Args[i] = c[name]
		}
		m.Rows[table] = append(m.Rows[table], r)
	}
}

// describe puts sizes in words: "m=16 n=4096".
func describe(dtype string, pairs ...any) string {
	var b strings.Builder
	b.WriteString(dtype)
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, " %v=%v", pairs[i], pairs[i+1])
	}
	return b.String()
}

// leftOut tells whether an error means that a point cannot be had on this device, rather
// than that something is wrong.
func leftOut(err error) bool {
	var missing *device.Missing
	return errors.Is(err, errFull) || errors.As(err, &missing)
}
