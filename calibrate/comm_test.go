package calibrate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"orrery/hwmodel"
)

// A fit predicts messages that it has not seen of a library that changes its algorithm
// at a size of its own.
func TestCollectiveFitFollowsTheLibrary(t *testing.T) {
	d, _ := Board("a100_sxm_80g")
	r := rand.New(rand.NewPCG(7, 8))
	truth := func(bytes float64) float64 {
		if bytes > 700e3 {
			return 30e-6 + bytes/150e9
		}
		return 10e-6 + bytes/20e9
	}
	var rows []Row
	for b := 512.0; b <= 1<<29; b *= 1.19 {
		row := Row{GPU: "a100_sxm_80g", DType: "fp16", Source: "aic-nccl", Words: [2]string{"all_gather", "nvswitch"}, Shape: fmt.Sprint(b)}
		row.Args[0], row.Args[1], row.Args[2] = 4, 4, b
		row.Seconds = truth(b) * math.Exp(0.02*r.NormFloat64())
		rows = append(rows, row)
	}
	p := &hwmodel.Profile{Device: d}
	if err := comm.fit(p, rows); err != nil {
		t.Fatal(err)
	}
	if len(p.Collectives) != 1 {
		t.Fatalf("%d collectives", len(p.Collectives))
	}
	c := &p.Collectives[0]
	if c.HeldOutMedian > 0.03 || c.HeldOutMean > c.Baseline {
		t.Errorf("messages held out are missed by %.1f %% in the median, %.1f %% in the mean, %.1f %% by a roofline", 100*c.HeldOutMedian, 100*c.HeldOutMean, 100*c.Baseline)
	}
	e, err := comm.Predict(p, &Row{DType: "fp16", Source: "aic-nccl", Words: [2]string{"all_gather", "nvswitch"}, Args: [13]float64{4, 4, 1 << 30}})
	if want := truth(1 << 30); err != nil || math.Abs(e.Seconds/want-1) > 0.1 || e.Derived {
		t.Errorf("a message of 1 GiB takes %+v, made with %g (%v)", e, want, err)
	}
	if _, err := comm.Predict(p, &Row{Words: [2]string{"broadcast", "nvswitch"}}); err == nil {
		t.Error("a collective without constants was priced")
	}
}

// The roofline that collectives are held against reaches down to slow links.
func TestRooflineOfASlowLink(t *testing.T) {
	d, _ := Board("a100_sxm_80g")
	var rows []Row
	for b := 1e4; b < 1e9; b *= 2 {
		r := Row{Seconds: 50e-6 + b/2e9}
		r.Args[2] = b
		rows = append(rows, r)
	}
	o := &Operator{Work: messageWork}
	f := FitRoofline(o, &d, rows)
	for i := range rows {
		if got := f.Time(o, &d, &rows[i]); math.Abs(got/rows[i].Seconds-1) > 0.1 {
			t.Errorf("%g bytes: roofline says %g s, made with %g", rows[i].Args[2], got, rows[i].Seconds)
		}
	}
}
