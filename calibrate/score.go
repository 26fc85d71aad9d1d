package calibrate

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"orrery/hwmodel"
	"orrery/internal/names"
)

// Score says how far a profile is off on measured rows of one operator on one GPU.
// Errors are |predicted/measured - 1|. Its JSON form is stable.
type Score struct {
	Op      string `json:"op"`
	GPU     string `json:"gpu"`
	Group   string `json:"group,omitempty"` // what rows were split by besides, empty if by nothing
	Profile string `json:"profile"`

	Rows    int `json:"rows"`
	Skipped int `json:"skipped"` // rows that the profile has no constants for

	Mean   float64 `json:"mape"`
	Median float64 `json:"median_ape"`
	P90    float64 `json:"p90_ape"`
	Bias   float64 `json:"bias"` // median of predicted/measured - 1
	// Inside is the share of rows within the 90 % band that the profile states, Band
	// the mean half-width of that band, as a share of the prediction.
	Inside float64 `json:"inside_band"`
	Band   float64 `json:"band"`
	// Derived is the share of rows priced by constants that were not measured on the
	// GPU by the row's engine.
	Derived float64 `json:"derived"`
	// Baseline is the MAPE of a roofline with three constants fitted to these very
	// rows for each dtype and source, an easier task than predicting them; 0 if it
	// was not asked for.
	Baseline float64 `json:"baseline_mape,omitempty"`

	worst []Priced
	all   []Priced
}

// Priced is a row and what a profile says of it.
type Priced struct {
	Row      *Row
	Operator *Operator
	Estimate hwmodel.Estimate
}

// Error returns |predicted/measured - 1|.
func (p *Priced) Error() float64 { return math.Abs(p.Estimate.Seconds/p.Row.Seconds - 1) }

// Describe says in words what was measured.
func (p *Priced) Describe() string { return p.Operator.describe(p.Row) }

// Worst returns up to twenty of the rows that are predicted worst, worst first.
func (s *Score) Worst() []Priced { return s.worst }

// Priced returns every row with its prediction.
func (s *Score) Priced() []Priced { return s.all }

// ScoreOptions say which rows are scored and how they are grouped.
type ScoreOptions struct {
	// By splits the rows of an operator and a GPU further: "source", "dtype", "both"
	// or "" for not at all.
	By string
	// AnyGPU prices rows of every GPU with the profile, not just those of its own.
	AnyGPU   bool
	Baseline bool // fit the baseline too, which takes time
}

// ScoreRows scores profiles on measurements, each row by the profile of its GPU: one
// score for each operator and GPU, in the order of operators and then of names. It
// also returns the number of rows of GPUs that no profile is of.
func ScoreRows(profiles []*hwmodel.Profile, m *Measured, opt ScoreOptions) (scores []Score, foreign int, err error) {
	for _, o := range operators {
		groups := map[[2]string][]Priced{}
		skipped := map[[2]string]int{}
		rows := m.Rows[o.Name]
		for i := range rows {
			r := &rows[i]
			p := profileFor(profiles, r.GPU, opt.AnyGPU)
			if p == nil {
				if _, known := Board(r.GPU); !known && !m.describes(r.GPU) {
					return nil, 0, fmt.Errorf("%s:%d: %w", r.File, r.Line, unknownGPU(r.GPU))
				}
				foreign++
				continue
			}
			key := [2]string{r.GPU, r.group(opt.By)}
			e, err := o.Predict(p, r)
			if err != nil {
				skipped[key]++
				continue
			}
			if !(e.Seconds > 0) || math.IsInf(e.Seconds, 0) {
				return nil, 0, fmt.Errorf("%s:%d: %s is priced at %g seconds", r.File, r.Line, o.describe(r), e.Seconds)
			}
			groups[key] = append(groups[key], Priced{r, o, e})
		}
		for _, key := range groupKeys(groups, skipped) {
			p := profileFor(profiles, key[0], opt.AnyGPU)
			s := summarise(groups[key])
			s.Op, s.GPU, s.Group, s.Profile, s.Skipped = o.Name, key[0], key[1], p.Device.Name, skipped[key]
			if opt.Baseline {
				s.Baseline = baseline(o, &p.Device, groups[key])
			}
			scores = append(scores, s)
		}
	}
	return scores, foreign, nil
}

// unknownGPU is the error for a GPU that is neither a known board nor the device of a
// profile.
func unknownGPU(gpu string) error {
	var known []string
	for i := range boards {
		known = append(known, boards[i].gpu)
	}
	return names.Unknown("gpu", gpu, known)
}

// describes tells whether the section device of the files is that of a GPU.
func (m *Measured) describes(gpu string) bool {
	return slices.Contains(m.Device, Fact{"gpu", gpu}) || slices.Contains(m.Device, Fact{"name", gpu})
}

func profileFor(profiles []*hwmodel.Profile, gpu string, any bool) *hwmodel.Profile {
	for _, p := range profiles {
		if any || p.Device.GPU == gpu || p.Device.Name == gpu {
			return p
		}
	}
	return nil
}

func (r *Row) group(by string) string {
	switch by {
	case "source":
		return r.Source
	case "dtype":
		return r.DType
	case "both":
		return r.DType + " " + r.Source
	}
	return ""
}

func groupKeys(groups map[[2]string][]Priced, skipped map[[2]string]int) [][2]string {
	var keys [][2]string
	for k := range groups {
		keys = append(keys, k)
	}
	for k := range skipped {
		if _, ok := groups[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b [2]string) int {
		return cmp.Or(strings.Compare(a[0], b[0]), strings.Compare(a[1], b[1]))
	})
	return keys
}

// summarise works out the errors of priced rows.
func summarise(rows []Priced) Score {
	s := Score{Rows: len(rows), all: rows}
	if len(rows) == 0 {
		return s
	}
	n := float64(len(rows))
	var errs, ratios []float64
	inside, derived := 0, 0
	for i := range rows {
		p := &rows[i]
		ratio := p.Estimate.Seconds / p.Row.Seconds
		ratios = append(ratios, ratio-1)
		errs = append(errs, math.Abs(ratio-1))
		if math.Abs(math.Log(ratio)) <= p.Estimate.Band {
			inside++
		}
		s.Band += (math.Exp(p.Estimate.Band) - 1) / n
		if p.Estimate.Derived {
			derived++
		}
	}
	s.Inside, s.Derived = float64(inside)/n, float64(derived)/n
	slices.Sort(errs)
	s.Mean, s.Median, s.P90, s.Bias = mean(errs), median(errs), quantile(errs, 0.9), median(ratios)
	worst := slices.Clone(rows)
	slices.SortStableFunc(worst, func(a, b Priced) int { return cmp.Compare(b.Error(), a.Error()) })
	s.worst = worst[:min(20, len(worst))]
	return s
}

// baseline returns the MAPE of the three-constant roofline fitted to each dtype and
// source.
func baseline(o *Operator, d *hwmodel.Device, priced []Priced) float64 {
	if len(priced) == 0 {
		return 0
	}
	groups := map[string][]Row{}
	for i := range priced {
		r := priced[i].Row
		groups[r.group("both")] = append(groups[r.group("both")], *r)
	}
	var sum float64
	for _, k := range sortedKeys(groups) {
		rows := groups[k]
		b := FitRoofline(o, d, thin(rows, 600))
		for i := range rows {
			sum += math.Abs(b.Time(o, d, &rows[i])/rows[i].Seconds - 1)
		}
	}
	return sum / float64(len(priced))
}

// thin returns about n of the rows, evenly taken.
func thin(rows []Row, n int) []Row {
	if len(rows) <= n {
		return rows
	}
	out := make([]Row, 0, n)
	for i := range n {
		out = append(out, rows[i*len(rows)/n])
	}
	return out
}
