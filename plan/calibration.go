package plan

import (
	"fmt"
	"math"

	"orrery/report"
)

// Calibration says between which values the figures of a run lie, given how far its prices
// can be trusted: the run was repeated with the same arrivals and all prices lower, and
// higher, by 1.645 of their standard error. Nine in ten true values lie between, if
// figures move one way with the scale of time.
type Calibration struct {
	// Error is the relative standard error of the times of iterations.
	Error   float64            `json:"time_error"`
	Level   float64            `json:"level"` // share of true values within
	Figures []CalibratedFigure `json:"figures"`
}

// CalibratedFigure is a figure of [Metrics] with the values it takes at the ends of the
// band of prices, the smaller one first.
type CalibratedFigure struct {
	Key   string        `json:"key"`
	Label string        `json:"label"`
	Unit  Unit          `json:"-"`
	Value report.Number `json:"value"`
	Low   report.Number `json:"low"`
	High  report.Number `json:"high"`
}

// CalibrationLevel is the share of true values that a calibration's bands hold.
const CalibrationLevel = 0.9

// calibrationWidth is half the width of a band of that level in standard deviations.
const calibrationWidth = 1.645

// PriceBand returns the factors on all prices between which nine in ten true ones lie, given
// their relative standard error.
func PriceBand(relative float64) (low, high float64) {
	high = math.Exp(calibrationWidth * relative)
	return 1 / high, high
}

// calibrated are the figures that a calibration has.
var calibrated = []string{"ttft_p50_s", "ttft_p99_s", "tbt_p50_s", "tbt_p99_s", "e2e_p50_s", "requests_per_s", "output_tokens_per_s", "steps_per_s", "goodput_per_s"}

// NewCalibration compares a run with its repetitions at the low and the high end of the
// band of prices.
func NewCalibration(relative float64, run, low, high *report.Result) *Calibration {
	c := &Calibration{Error: relative, Level: CalibrationLevel, Figures: []CalibratedFigure{}}
	at, quick, slow := Observe(run), Observe(low), Observe(high)
	for _, key := range calibrated {
		v := at.Value(key)
		if !report.Number(v).Exists() {
			continue
		}
		m := metricOf(key)
		a, b := quick.Value(key), slow.Value(key)
		f := CalibratedFigure{Key: key, Label: m.Label, Unit: m.Unit, Value: report.Number(v), Low: report.Number(min(a, b, v)), High: report.Number(max(a, b, v))}
		c.Figures = append(c.Figures, f)
	}
	return c
}

func metricOf(key string) Metric {
	for _, m := range metrics {
		if m.Key == key {
			return m
		}
	}
	panic("plan: no metric " + key)
}

// Text returns a table of the figures with their bands.
func (c *Calibration) Text() string {
	t := table{{"", "", "90 % band"}}
	for _, f := range c.Figures {
		t = append(t, []string{f.Label, f.Unit.Text(float64(f.Value)), f.Unit.Text(float64(f.Low)) + " to " + f.Unit.Text(float64(f.High))})
	}
	return c.Summary() + "\n" + t.String()
}

// Summary says in a line how far the prices can be trusted.
func (c *Calibration) Summary() string {
	low, high := PriceBand(c.Error)
	return fmt.Sprintf("calibration %s: iterations take %.0f to %.0f %% of their price, nine times in ten", plusMinus(c.Error), 100*low, 100*high)
}

// plusMinus writes a relative standard error.
func plusMinus(relative float64) string { return fmt.Sprintf("±%s %%", significant(100*relative, 2)) }

// CapacityBand is how far a capacity may be off because prices are: the searches of one
// seed were repeated with all prices at the ends of their band.
type CapacityBand struct {
	Error float64       `json:"time_error"` // relative standard error of the times of iterations
	Level float64       `json:"level"`      // share of true values within
	Low   report.Number `json:"low_per_s"`
	High  report.Number `json:"high_per_s"`
}

// NewCapacityBand moves the capacity c as the rate held by its first seed moved: quick is
// the search at the low end of the band of prices, slow that at the high end. It returns nil
// unless all three came to an end and held a rate.
func NewCapacityBand(relative float64, c, quick, slow *Capacity) *CapacityBand {
	if len(c.Seeds) == 0 || len(quick.Seeds) == 0 || len(slow.Seeds) == 0 || quick.Partial || slow.Partial || c.Partial {
		return nil
	}
	at := float64(c.Seeds[0].Held)
	if !(at > 0) || !(quick.Seeds[0].Held > 0) || quick.Unbounded() {
		return nil
	}
	return &CapacityBand{
		Error: relative, Level: CalibrationLevel,
		Low:  report.Number(float64(c.PerS) * min(1, float64(slow.Seeds[0].Held)/at)),
		High: report.Number(float64(c.PerS) * max(1, float64(quick.Seeds[0].Held)/at)),
	}
}

// Within returns the band of a capacity by calibration and seeds together, as far as they
// are known: the distances to either end add up in quadrature.
func (c *Capacity) Within() (low, high float64, ok bool) {
	at := float64(c.PerS)
	if c.Calibration == nil || !(at > 0) {
		return 0, 0, false
	}
	down, up := at-float64(c.Calibration.Low), float64(c.Calibration.High)-at
	if c.Interval.Low.Exists() {
		down, up = math.Hypot(down, max(0, at-float64(c.Interval.Low))), math.Hypot(up, max(0, float64(c.Interval.High)-at))
	}
	return max(0, at-down), at + up, true
}
