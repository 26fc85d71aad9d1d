package sweep

import (
	"fmt"
	"slices"

	"orrery/sim"
)

// maxCells bounds a sweep: a slip of the keyboard should not fill a disk.
const maxCells = 1_000_000

// Method says how points are drawn from ranges.
type Method string

// The methods.
const (
	// Latin is Latin hypercube sampling (McKay, Beckman and Conover, Technometrics 21(2), 1979):
	// of n points each n-th part of each range has one.
	Latin Method = "latin"
	// Random draws each point by itself, so that more points leave the first ones as they were.
	Random Method = "random"
)

// Spec says what a sweep runs: the product of all lists, at each of the points drawn from the
// ranges, with each of the seeds.
type Spec struct {
	Axes   []Axis
	Sample int // points drawn from the ranges; 0 if there is none
	Method Method
	// Draw seeds the points, by a stream of its own for each axis.
	Draw  uint64
	Seeds []uint64 // of every setting, so that all of them meet the same traffic
}

// check says what is wrong with the question, if anything.
func (s *Spec) check() error {
	ranges, size := 0, len(s.Seeds)
	for i, a := range s.Axes {
		if slices.ContainsFunc(s.Axes[:i], func(b Axis) bool { return b.Key == a.Key }) {
			return fmt.Errorf("%s is varied twice; want all its values in one list", a.Key)
		}
		if a.Range != nil {
			ranges++
			continue
		}
		if size *= len(a.Values); size > maxCells {
			return tooMany()
		}
	}
	if len(s.Axes) == 0 {
		return fmt.Errorf("nothing is varied; want a key with values, such as traffic.rate=1..8:15")
	}
	if len(s.Seeds) == 0 {
		return fmt.Errorf("no seed; want at least one, and five for an interval")
	}
	if ranges > 0 && s.Sample == 0 {
		return fmt.Errorf("%s is a range without a number of values; want %[1]s:5, say, or points drawn from it by --sample", s.Axes[slices.IndexFunc(s.Axes, func(a Axis) bool { return a.Range != nil })])
	}
	if ranges == 0 && s.Sample > 0 {
		return fmt.Errorf("%d points of no range; want a range without a number of values, such as traffic.rate=1.0..8.0", s.Sample)
	}
	if size*max(s.Sample, 1) > maxCells {
		return tooMany()
	}
	return nil
}

func tooMany() error {
	return fmt.Errorf("more than %d runs; want fewer values or seeds, or points drawn from ranges", maxCells)
}

// settings returns the settings in the order of the table: lists as in nested loops, the last
// one fastest, and the drawn points within.
func (s *Spec) settings() [][]Setting {
	drawn := s.drawn()
	all := [][]Setting{make([]Setting, len(s.Axes))}
	for i, a := range s.Axes {
		if a.Range != nil {
			continue
		}
		var next [][]Setting
		for _, base := range all {
			for _, v := range a.Values {
				one := slices.Clone(base)
				one[i] = Setting{a.Key, v}
				next = append(next, one)
			}
		}
		all = next
	}
	if s.Sample == 0 {
		return all
	}
	var next [][]Setting
	for _, base := range all {
		for p := range s.Sample {
			one := slices.Clone(base)
			for i, a := range s.Axes {
				if a.Range != nil {
					one[i] = Setting{a.Key, drawn[i][p]}
				}
			}
			next = append(next, one)
		}
	}
	return next
}

// drawn returns for each axis with a range the values of all points.
func (s *Spec) drawn() [][]string {
	out := make([][]string, len(s.Axes))
	for i, a := range s.Axes {
		if a.Range == nil {
			continue
		}
		stream := sim.Stream(s.Draw, "sweep "+a.Key)
		var order []int
		if s.Method != Random {
			order = stream.Perm(s.Sample)
		}
		for p := range s.Sample {
			u := stream.Float64()
			if order != nil {
				u = (float64(order[p]) + u) / float64(s.Sample)
			}
			out[i] = append(out[i], a.Range.at(u))
		}
	}
	return out
}
