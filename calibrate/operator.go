package calibrate

import (
	"fmt"
	"slices"

	"orrery/hwmodel"
)

// Operator is one kind of work that can be measured, fitted and scored. Everything
// the package does with measurements goes through these.
type Operator struct {
	Name string // of its table in measurement files
	// Words and Sizes are the columns of its table beside gpu, dtype, time_us and
	// src: those that hold words, at most two, and those that hold numbers. A row's
	// Words and Args follow their order.
	Words, Sizes []string
	// Optional tells that a size may be left empty or be 0.
	Optional []string

	// Work returns the FLOPs of a row and the bytes it must move, for the roofline
	// that predictions are held against.
	Work func(r *Row) (flops, bytes float64)
	// Predict prices a row on the device of p. It fails if p has no constants for
	// such a row.
	Predict func(p *hwmodel.Profile, r *Row) (hwmodel.Estimate, error)
	// Clear removes the operator's constants from p.
	Clear func(p *hwmodel.Profile)
	// Fit fits constants to rows, all measured on p's device, and puts them into p in
	// the place of derived ones. It passes over what p holds measured already, over rows
	// it has no model for, and over a set of constants with few rows unless p holds a
	// derived set to lean on.
	Fit func(p *hwmodel.Profile, rows []Row) error
	// Derive puts constants into p, which lacks them, from those that were measured
	// on the donor's device, by what the two data sheets say.
	Derive func(p, donor *hwmodel.Profile) error
	// Scarce tells that some libraries were measured on few boards, so that what no near
	// relative of a device has comes from far away, with a band to match.
	Scarce bool
	// Fits lists the operator's fits in p with a name for each.
	Fits func(p *hwmodel.Profile) []NamedFit
	// Distinct lists the fits without those of general constants where most rows have
	// constants of their own beside them. It is nil where all fits are distinct.
	Distinct func(p *hwmodel.Profile) []NamedFit
}

// NamedFit is the fit of one set of constants of an operator.
type NamedFit struct {
	Name string
	Fit  *hwmodel.Fit
}

// operators lists every operator, in the order of reports. Each is defined in the
// file that fits it.
var operators = []*Operator{gemmOperator, moeOperator, prefill, decodes, mixed, elementwise, rownorm, conv2d, comm}

// Operators returns every operator, in the order of reports.
func Operators() []*Operator { return slices.Clone(operators) }

// FindOperator returns the operator of the given name.
func FindOperator(name string) (*Operator, bool) {
	i := slices.IndexFunc(operators, func(o *Operator) bool { return o.Name == name })
	if i < 0 {
		return nil, false
	}
	return operators[i], true
}

// EngineOf returns the engine key of a source of measurements: the library whose
// kernels it timed, where the source is known to name one, and the source itself
// otherwise.
func EngineOf(source string) string {
	switch source {
	case "aic-vllm", "aic-vllm-encoder":
		return "vllm"
	case "aic-sglang":
		return "sglang"
	case "aic-trtllm":
		return "trtllm"
	case "aic-nccl", "autodl-nccltests":
		return "nccl"
	}
	return source
}

// describe returns a row in words for errors and tables of the worst rows.
func (o *Operator) describe(r *Row) string {
	s := o.Name
	if r.DType != "" {
		s += " " + r.DType
	}
	for i := range o.Words {
		s += " " + r.Words[i]
	}
	for i, c := range o.Sizes {
		s += fmt.Sprintf(" %s=%g", c, r.Args[i])
	}
	return s
}
