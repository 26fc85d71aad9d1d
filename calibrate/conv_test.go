package calibrate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"testing"

	"orrery/hwmodel"
)

// A fit predicts convolutions that it has not seen of a library that it can describe.
func TestConvFitPredictsTheUnseen(t *testing.T) {
	d, _ := Board("v100_pcie_32g")
	truth := hwmodel.Conv{
		Key: hwmodel.Key{Engine: "made", DType: "fp32"}, Pass: "fwd", Host: 2e-5, Launch: 3e-5, Direct: [4]float64{0.8, 0.7, 0.5, 0.2},
		Winograd: 0.4, Transform: 0.6, Enough: 5e5, Deep: 40, Wave: 0.8, Fill: 30, Bandwidth: 0.7,
	}
	r := rand.New(rand.NewPCG(5, 6))
	size := func(low, high float64) float64 { return math.Round(low * math.Pow(high/low, r.Float64())) }
	var rows []Row
	for range 300 {
		side := size(5, 100)
		row := Row{Words: [2]string{"fwd"}, DType: "fp32", Source: "made", Args: [13]float64{size(1, 64), size(8, 1500), side, side, size(16, 1500), 3, 3, 1, 1, 1, 1, 1}}
		row.Shape = fmt.Sprint(row.Args)
		c := convOf(&row)
		row.Seconds = truth.Time(&d, &c) * math.Exp(0.03*r.NormFloat64())
		rows = append(rows, row)
	}
	v, err := measuredConv(&d, convKey{truth.Key, "fwd"}, rows)
	if err != nil {
		t.Fatal(err)
	}
	if v.HeldOutMedian > 0.1 || v.HeldOutMean > v.Baseline/2 {
		t.Errorf("shapes held out are missed by %.1f %% in the median and %.1f %% in the mean, by a roofline by %.1f %%", 100*v.HeldOutMedian, 100*v.HeldOutMean, 100*v.Baseline)
	}
}

// The collectives and convolutions that come with the program are what the fit gives.
func TestCollectivesAndConvsAreWhatTheFitGives(t *testing.T) {
	data := measurements(t)
	m, err := ReadMeasurements(filepath.Join(data, "ops", "comm.csv"), filepath.Join(data, "ops", "conv2d.csv"))
	if err != nil {
		t.Fatal(err)
	}
	shipped, err := hwmodel.Load("rtx-2080-ti-11gb")
	if err != nil {
		t.Fatal(err)
	}
	p := &hwmodel.Profile{Device: shipped.Device}
	if err := comm.fit(p, rowsByGPU(m.Rows["comm"])["rtx_2080ti"]); err != nil {
		t.Fatal(err)
	}
	for i := range p.Collectives {
		c := &p.Collectives[i]
		found := false
		for j := range shipped.Collectives {
			q := &shipped.Collectives[j]
			if keyOf(q) == keyOf(c) {
				found = q.Latency == c.Latency && q.Bulk == c.Bulk && q.HeldOutMean == c.HeldOutMean && reflect.DeepEqual(q.Residual.Factor, c.Residual.Factor)
			}
		}
		if !found {
			t.Errorf("%+v is not shipped", keyOf(c))
		}
	}
	if shipped, err = hwmodel.Load("gtx-1080-ti-11gb"); err != nil {
		t.Fatal(err)
	}
	p = &hwmodel.Profile{Device: shipped.Device}
	if err := conv2d.fit(p, rowsByGPU(m.Rows["conv2d"])["gtx_1080ti"]); err != nil {
		t.Fatal(err)
	}
	for i := range p.Convs {
		v := &p.Convs[i]
		if q, exact := shipped.Conv(v.Engine, v.DType, v.Pass); !exact || !reflect.DeepEqual(q, v) {
			t.Errorf("shipped is %+v, fitted %+v", q, v)
		}
	}
}
