package calibrate

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"orrery/hwmodel"
	"orrery/workloads/llm"
)

// EngineRow is one published time of a serving engine at work: of an iteration, of a
// request that ran alone, or a mean over many iterations of a batch.
type EngineRow struct {
	GPU      string // as measurement files name it
	Device   string // profile of that GPU, empty if there is none
	Engine   string // engine of hwmodel that stands for what ran, empty if none does
	Model    *llm.Model
	Parallel llm.Parallel
	// Links joins the devices where that is not the device's own way.
	Links   []llm.Option
	Kind    string // what was timed: decode, prompt, TPOT, ...
	Shape   string // the rest of what was asked, in words
	Part    string // rows of one part are held out of a fit together
	Seconds float64
	// Predict returns the same time in seconds on an engine whose iterations are priced.
	Predict func(*Iterations) float64
	// PredictOn does the same for a sum of operators without any engine, and is nil else.
	PredictOn func(p *hwmodel.Profile) (float64, error)

	File string
	Line int
}

// key says which rows share a cost model.
func (w *EngineRow) key() string {
	return fmt.Sprintf("%s %s %v %d %d", w.Device, w.Model.Name, w.Parallel, w.Model.WeightBytes, w.Model.KVBytes)
}

// EngineScore says how far predictions are off on the published times of one kind, by
// file, engine and GPU. Errors are |predicted/measured - 1|. Its JSON form is stable.
type EngineScore struct {
	File   string  `json:"file"`
	Engine string  `json:"engine"`
	GPU    string  `json:"gpu"`
	Kind   string  `json:"kind"`
	Rows   int     `json:"rows"`
	Mean   float64 `json:"mape"`
	Median float64 `json:"median_ape"`
	P90    float64 `json:"p90_ape"`
	Bias   float64 `json:"bias"` // median of predicted/measured - 1
	// Inside is the share of rows within the 90 % band that the prices state, Band the mean
	// half-width of that band, as a share of the prediction; both are 0 of sums of
	// operators.
	Inside  float64 `json:"inside_band"`
	Band    float64 `json:"band"`
	Skipped int     `json:"skipped"`

	Priced []PricedRow `json:"-"` // worst first
}

// PricedRow is a published time and its prediction in seconds.
type PricedRow struct {
	*EngineRow
	Predicted float64
	Doubt     float64 // relative standard error that the prices state
}

// Error returns predicted/measured - 1.
func (p *PricedRow) Error() float64 { return p.Predicted/p.Seconds - 1 }

// Pricer prices iterations on the devices of many models. It keeps the operators' times
// of each, which do not depend on the engine's host. It belongs to one goroutine.
type Pricer struct {
	profiles []*hwmodel.Profile
	costs    map[string]*llm.Cost // by row key and the engine's kernels
}

// NewPricer returns a pricer that knows the devices of profiles.
func NewPricer(profiles []*hwmodel.Profile) *Pricer {
	return &Pricer{profiles: profiles, costs: map[string]*llm.Cost{}}
}

// Price returns the predicted seconds of w under engine e.
func (p *Pricer) Price(w *EngineRow, e *hwmodel.Engine) (float64, error) {
	v, err := p.priced(w, e)
	return v.Predicted, err
}

// priced predicts w and notes how far the prices can be trusted that decide most.
func (p *Pricer) priced(w *EngineRow, e *hwmodel.Engine) (PricedRow, error) {
	if w.PredictOn != nil {
		q, err := p.profile(w)
		if err != nil {
			return PricedRow{}, err
		}
		v, err := w.PredictOn(q)
		return PricedRow{EngineRow: w, Predicted: v}, err
	}
	c, err := p.cost(w, e)
	if err != nil {
		return PricedRow{}, err
	}
	it := &Iterations{cost: c}
	v := w.Predict(it)
	return PricedRow{w, v, c.Doubt(&it.longest)}, nil
}

// cost returns the cost model of w's devices under e.
func (p *Pricer) cost(w *EngineRow, e *hwmodel.Engine) (*llm.Cost, error) {
	key := w.key() + " " + e.Kernels()
	c, ok := p.costs[key]
	if !ok {
		q, err := p.profile(w)
		if err != nil {
			return nil, err
		}
		if c, err = llm.NewCost(w.Model, w.Parallel, q, e, w.Links...); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", w.File, w.Line, err)
		}
		p.costs[key] = c
	}
	return c.Hosted(e), nil
}

// profile returns the profile of w's device.
func (p *Pricer) profile(w *EngineRow) (*hwmodel.Profile, error) {
	for _, q := range p.profiles {
		if q.Device.Name == w.Device {
			return q, nil
		}
	}
	return nil, fmt.Errorf("%s:%d: no profile of %s", w.File, w.Line, w.GPU)
}

// Iterations are the iterations of an engine that has one batch under way at a time.
type Iterations struct {
	cost    hwmodel.CostModel
	longest hwmodel.Batch // of those priced
	most    float64       // seconds that it took
}

// Devices returns the seconds that the devices take for b, one stage after another.
func (p *Iterations) Devices(b *hwmodel.Batch) float64 {
	t := p.cost.Stage(0, b)
	for s := 1; s < p.cost.Stages(); s++ {
		t += p.cost.Send(b) + p.cost.Stage(s, b)
	}
	return t.Seconds()
}

// Host returns the seconds that the host is busy with b.
func (p *Iterations) Host(b *hwmodel.Batch) float64 {
	t, _ := p.cost.Host(b)
	return t.Seconds()
}

// Time returns the seconds from one iteration of b to the next.
func (p *Iterations) Time(b *hwmodel.Batch) float64 {
	t := p.Devices(b) + p.Host(b)
	if _, overlapped := p.cost.Host(b); overlapped {
		t = max(p.Devices(b), p.Host(b))
	}
	if t > p.most {
		p.longest, p.most = *b, t
	}
	return t
}

// ScoreEngines compares published times with the predictions of engines, one score for each
// file, engine, GPU and kind in the order in which they first come. Rows without a
// profile or an engine are counted as skipped.
func ScoreEngines(p *Pricer, engines []*hwmodel.Engine, rows []EngineRow) ([]EngineScore, error) {
	var scores []EngineScore
	for i := range rows {
		w := &rows[i]
		j := slices.IndexFunc(scores, func(s EngineScore) bool {
			return s.File == w.File && s.Engine == w.Engine && s.GPU == w.GPU && s.Kind == w.Kind
		})
		if j < 0 {
			j = len(scores)
			scores = append(scores, EngineScore{File: w.File, Engine: w.Engine, GPU: w.GPU, Kind: w.Kind})
		}
		s := &scores[j]
		e := engineFor(engines, w)
		if _, err := p.profile(w); err != nil || w.PredictOn == nil && (e == nil || w.Model == nil) {
			s.Skipped++
			continue
		}
		v, err := p.priced(w, e)
		if err != nil {
			return nil, err
		}
		s.Priced = append(s.Priced, v)
	}
	for i := range scores {
		scores[i].summarise()
	}
	return scores, nil
}

// engineFor returns the engine that stands for what ran w, nil if none does.
func engineFor(engines []*hwmodel.Engine, w *EngineRow) *hwmodel.Engine {
	for _, e := range engines {
		if e.Name == w.Engine {
			return e
		}
	}
	return nil
}

// bandSigmas is half the width of a 90 % band in standard errors.
const bandSigmas = 1.645

func (s *EngineScore) summarise() {
	s.Rows = len(s.Priced)
	if s.Rows == 0 {
		return
	}
	slices.SortStableFunc(s.Priced, func(a, b PricedRow) int { return cmp.Compare(math.Abs(b.Error()), math.Abs(a.Error())) })
	var signed, errs []float64
	n := float64(s.Rows)
	for i := range s.Priced {
		e, half := s.Priced[i].Error(), math.Exp(bandSigmas*s.Priced[i].Doubt)-1
		signed = append(signed, e)
		errs = append(errs, math.Abs(e))
		s.Band += half / n
		if half > 0 && math.Abs(math.Log1p(e)) <= math.Log1p(half) {
			s.Inside += 1 / n
		}
	}
	slices.Sort(errs)
	s.Mean, s.Median, s.P90, s.Bias = mean(errs), median(errs), quantile(errs, 0.9), median(signed)
}
