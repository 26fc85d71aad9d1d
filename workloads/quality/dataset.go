package quality

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Dataset is a table of samples, each with its features and the class it belongs to.
type Dataset struct {
	Name     string
	Features []string  // names of the columns of X
	Classes  []string  // names of the values of Y
	X        []float64 // samples x features, row by row
	Y        []int     // by sample, an index into Classes
}

// Len returns the number of samples.
func (d *Dataset) Len() int { return len(d.Y) }

// Row returns the features of a sample.
func (d *Dataset) Row(i int) []float64 {
	n := len(d.Features)
	return d.X[i*n : (i+1)*n]
}

// Subset returns the samples at rows, in that order. Its features are a copy.
func (d *Dataset) Subset(rows []int) *Dataset {
	out := &Dataset{Name: d.Name, Features: d.Features, Classes: d.Classes}
	for _, i := range rows {
		out.X = append(out.X, d.Row(i)...)
		out.Y = append(out.Y, d.Y[i])
	}
	return out
}

// Split shuffles the samples and puts that share of them, rounded down, into the first part.
func (d *Dataset) Split(share float64, draws *rand.Rand) (train, test *Dataset) {
	rows := draws.Perm(d.Len())
	cut := int(share * float64(len(rows)))
	return d.Subset(rows[:cut]), d.Subset(rows[cut:])
}

// Scaling takes features to mean 0 and variance 1.
type Scaling struct{ Mean, Deviation []float64 }

// Scaling returns that of the samples. A feature that is the same in all of them becomes 0.
func (d *Dataset) Scaling() Scaling {
	n, k := float64(d.Len()), len(d.Features)
	s := Scaling{make([]float64, k), make([]float64, k)}
	for i := range d.Len() {
		for j, x := range d.Row(i) {
			s.Mean[j] += x / n
		}
	}
	for i := range d.Len() {
		for j, x := range d.Row(i) {
			s.Deviation[j] += (x - s.Mean[j]) * (x - s.Mean[j]) / n
		}
	}
	for j, v := range s.Deviation {
		s.Deviation[j] = math.Sqrt(v)
	}
	return s
}

// flat is a deviation, relative to the mean, that is rounding and not variety.
const flat = 1e-12

// Scale returns the samples with their features scaled.
func (d *Dataset) Scale(s Scaling) *Dataset {
	out := *d
	out.X = make([]float64, len(d.X))
	k := len(d.Features)
	for i, x := range d.X {
		j := i % k
		if s.Deviation[j] > flat*(1+math.Abs(s.Mean[j])) {
			out.X[i] = (x - s.Mean[j]) / s.Deviation[j]
		}
	}
	return &out
}

// mostValues bounds the features of a table that is read, so that a sparse line of a few
// bytes cannot claim all memory: half a gigabyte.
const mostValues = 1 << 26

// reading is a table as its reader fills it.
type reading struct {
	Dataset
	line  int // the one being read, from 1
	class map[string]int
}

func newReading(name string) *reading {
	return &reading{Dataset: Dataset{Name: name}, class: map[string]int{}}
}

// errorf returns an error at the line being read.
func (r *reading) errorf(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", r.Name, r.line, fmt.Sprintf(format, args...))
}

// number parses the value of a feature.
func (r *reading) number(feature, text string) (float64, error) {
	x, err := parseFinite(text)
	if err != nil {
		return 0, r.errorf("%s is %.40q; want a finite number", feature, text)
	}
	return x, nil
}

// add ends a sample whose features are in X already.
func (r *reading) add(class string) error {
	if class == "" {
		return r.errorf("a sample without a class")
	}
	y, ok := r.class[class]
	if !ok {
		y = len(r.Classes)
		r.class[class] = y
		r.Classes = append(r.Classes, class)
	}
	r.Y = append(r.Y, y)
	if len(r.X) > mostValues {
		return r.errorf("more than %d values; want a smaller table", mostValues)
	}
	return nil
}

// done returns the table, if one can learn from it.
func (r *reading) done() (*Dataset, error) {
	switch {
	case len(r.Y) == 0:
		return nil, fmt.Errorf("%s: no samples; want a line for each", r.Name)
	case len(r.Features) == 0:
		return nil, fmt.Errorf("%s: no features; want at least one beside the class", r.Name)
	case len(r.Classes) < 2:
		return nil, fmt.Errorf("%s: every sample is of class %.40q; want two classes or more", r.Name, r.Classes[0])
	}
	return &r.Dataset, nil
}
