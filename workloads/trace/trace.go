package trace

import (
	"fmt"
	"io"
	"math"

	"orrery/sim"
	"orrery/workloads"
)

// Traffic is a description of traffic that can be opened. The types of this
// package that implement it are plain values: the same value opened twice
// yields the same requests.
type Traffic interface {
	// Open checks the description and returns a source of its requests. Sources
	// that read files hold them open; see [Close].
	Open() (workloads.Source, error)
}

// Arrivals is an arrival process: it says when requests come.
type Arrivals interface {
	// Times returns a function that yields one arrival time after another, in
	// order, and false once no more will come. It draws from the stream "arrivals"
	// of the seed only. The error names the field that is wrong.
	Times(seed uint64) (func() (sim.Time, bool), error)
}

// Lengths says how long prompts and outputs are.
type Lengths interface {
	// Draws returns a function that yields the prompt and output tokens of one
	// request after another, each at least 1. The error names the field, or the
	// file and line, that is wrong.
	Draws(seed uint64) (func() (prompt, output int32), error)
}

// MaxTokens is the longest prompt or output of a request in tokens. It is far
// beyond the context of any model (the longest advertised is 10 million) and
// keeps sums, and the memory that a line of a trace can ask for, small.
const MaxTokens = 1 << 24

// Close releases what a source holds and returns the error that cut it short,
// if any: [workloads.Source] has no other way to report a file that could not
// be read to its end. Call it when the run has ended. Sources that hold nothing
// are left alone.
func Close(src workloads.Source) error {
	if c, ok := src.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// tokens rounds x to a whole number of tokens between 1 and [MaxTokens].
func tokens(x float64) int32 {
	return int32(min(max(math.Floor(x+0.5), 1), MaxTokens))
}

// positive returns an error unless v is finite and above 0. The message names
// the field and says what it counts.
func positive(field string, v float64, unit string) error {
	if v > 0 && v <= math.MaxFloat64 {
		return nil
	}
	return fmt.Errorf("%s is %v; want a finite number above 0 (%s)", field, v, unit)
}

// notNegative returns an error unless v is finite and at least 0.
func notNegative(field string, v float64, unit string) error {
	if v >= 0 && v <= math.MaxFloat64 {
		return nil
	}
	return fmt.Errorf("%s is %v; want a finite number, at least 0 (%s)", field, v, unit)
}

// between returns an error unless v lies between low and high.
func between(field string, v, low, high float64, unit string) error {
	if v >= low && v <= high {
		return nil
	}
	return fmt.Errorf("%s is %v; want %v to %v (%s)", field, v, low, high, unit)
}

// notNegativeCount returns an error if n is negative.
func notNegativeCount(field string, n int64, zero string) error {
	if n >= 0 {
		return nil
	}
	return fmt.Errorf("%s is %d; want at least 0 (0: %s)", field, n, zero)
}

// firstError returns the first error that is not nil.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
