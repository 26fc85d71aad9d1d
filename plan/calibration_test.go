package plan

import (
	"math"
	"strings"
	"testing"

	"orrery/report"
)

// A figure's band is what it was at cheaper and at dearer prices, whichever way it moves.
func TestCalibrationTakesTheEndsInOrder(t *testing.T) {
	of := func(ttft, rate float64) *report.Result {
		r := &report.Result{}
		r.Latency.TTFT.WithUnfinished.P50S = report.Number(ttft)
		r.Latency.TTFT.WithUnfinished.P99S = report.None
		r.Throughput.RequestsPerS = report.Number(rate)
		return r
	}
	c := NewCalibration(0.1, of(0.2, 3), of(0.15, 4), of(0.3, 2))
	got := map[string][3]float64{}
	for _, f := range c.Figures {
		got[f.Key] = [3]float64{float64(f.Low), float64(f.Value), float64(f.High)}
	}
	if got["ttft_p50_s"] != [3]float64{0.15, 0.2, 0.3} || got["requests_per_s"] != [3]float64{2, 3, 4} {
		t.Errorf("bands %v", got)
	}
	if _, ok := got["ttft_p99_s"]; ok {
		t.Error("a figure that does not exist has a band")
	}
	text := c.Text()
	for _, want := range []string{"calibration ±10 %: iterations take 85 to 118 % of their price", "TTFT p50", "150 ms to 300 ms"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// What seeds and calibration say apart adds up in quadrature, on either side.
func TestCapacityWithinAddsUpInQuadrature(t *testing.T) {
	held := func(v float64) *Capacity { return &Capacity{Seeds: []SeedSearch{{Held: report.Number(v)}}} }
	c := held(2.2) // the first seed held 10 % more than the median of all
	c.PerS = 2
	c.Interval = Interval{Low: 1.7, High: 2.4}
	c.Calibration = NewCapacityBand(0.1, c, held(2.53), held(1.76))
	if b := c.Calibration; math.Abs(float64(b.High)-2.3) > 1e-9 || math.Abs(float64(b.Low)-1.6) > 1e-9 {
		t.Fatalf("band %+v, want 1.6 to 2.3", b)
	}
	low, high, ok := c.Within()
	if !ok || math.Abs(low-1.5) > 1e-9 || math.Abs(high-2.5) > 1e-9 {
		t.Errorf("within %g to %g, want 1.5 to 2.5", low, high)
	}
	if text := c.Text(); !strings.HasPrefix(text, "2.00 ± 0.50 requests/s") {
		t.Errorf("written as %s", text)
	}
	if b := NewCapacityBand(0.1, c, held(2.53), &Capacity{Seeds: []SeedSearch{{}}, Partial: true}); b != nil {
		t.Errorf("a search cut short gives the band %+v", b)
	}
}
