package calibrate

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Stratum is the error of a part of the rows of a score.
type Stratum struct {
	Name string  `json:"name"`
	Rows int     `json:"rows"`
	Mean float64 `json:"mape"`
	Bias float64 `json:"bias"` // median of predicted/measured - 1
}

// Strata splits the rows of a score to show where its errors lie: by dtype and source,
// and into fifths by measured time and by every size that varies. Errors that differ
// between strata are structure that the model has missed; a bias that changes its
// sign along a size says in which direction.
func (s *Score) Strata() []Stratum {
	if len(s.all) == 0 {
		return nil
	}
	groups := map[string][]Priced{}
	for _, p := range s.all {
		k := p.Row.group("both")
		groups[k] = append(groups[k], p)
	}
	var out []Stratum
	for _, k := range sortedKeys(groups) {
		out = append(out, stratum(k, groups[k]))
	}
	out = append(out, s.fifths("time", "us", func(r *Row) float64 { return 1e6 * r.Seconds })...)
	for i, c := range s.all[0].Operator.Sizes {
		out = append(out, s.fifths(c, "", func(r *Row) float64 { return r.Args[i] })...)
	}
	return out
}

// fifths splits the rows by the value of one size into parts of like number, none if
// it hardly varies.
func (s *Score) fifths(name, unit string, of func(r *Row) float64) []Stratum {
	const parts = 5
	rows := slices.Clone(s.all)
	slices.SortStableFunc(rows, func(a, b Priced) int { return cmp.Compare(of(a.Row), of(b.Row)) })
	var out []Stratum
	for begin := 0; begin < len(rows); {
		// Rows of the same size stay together.
		end := min(begin+max(1, (len(rows)-begin)/(parts-len(out))), len(rows))
		if len(out) == parts-1 {
			end = len(rows)
		}
		for end < len(rows) && of(rows[end].Row) == of(rows[end-1].Row) {
			end++
		}
		low, high := of(rows[begin].Row), of(rows[end-1].Row)
		label := fmt.Sprintf("%s %.4g to %.4g %s", name, low, high, unit)
		if low == high {
			label = fmt.Sprintf("%s %.4g %s", name, low, unit)
		}
		out = append(out, stratum(label, rows[begin:end]))
		begin = end
	}
	if len(out) < 2 {
		return nil
	}
	return out
}

func stratum(name string, rows []Priced) Stratum {
	s := Stratum{Name: name, Rows: len(rows)}
	var ratios []float64
	for i := range rows {
		v := rows[i].Estimate.Seconds/rows[i].Row.Seconds - 1
		ratios = append(ratios, v)
		s.Mean += math.Abs(v) / float64(len(rows))
	}
	s.Bias = median(ratios)
	return s
}
