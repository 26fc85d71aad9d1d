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

// A fit finds the kernel that made the data: its overheads and bandwidths, and the size
// at which its data leave L2.
func TestStreamFitFindsTheKernel(t *testing.T) {
	d, _ := Board("l40")
	truth := hwmodel.Stream{Host: 5e-6, Launch: 2e-6, Ramp: 3e-6, DRAM: 0.85, L2: 0.7, Reach: 1.1}
	r := rand.New(rand.NewPCG(3, 4))
	var rows []Row
	for range 250 {
		elems := math.Round(math.Exp(10 + 9*r.Float64()))
		row := Row{Words: [2]string{"relu"}, Args: [13]float64{elems, 1, 1}, DType: "fp32", Source: "made"}
		row.Shape = fmt.Sprint(elems)
		row.Seconds = truth.Time(&d, callsOf(&row)[0]) * math.Exp(0.02*r.NormFloat64())
		rows = append(rows, row)
	}
	set, err := measuredStreams(&d, hwmodel.Key{Engine: "made", DType: "fp32"}, rows, false)
	if err != nil || len(set) != 1 {
		t.Fatalf("%d kernels, %v", len(set), err)
	}
	s := set[0]
	for _, c := range []struct {
		name      string
		got, want float64
	}{{"dram", s.DRAM, truth.DRAM}, {"l2", s.L2, truth.L2}, {"reach", s.Reach, truth.Reach}, {"host", s.Host, truth.Host}} {
		if math.Abs(c.got/c.want-1) > 0.1 {
			t.Errorf("%s is fitted as %g, made with %g", c.name, c.got, c.want)
		}
	}
	if s.HeldOutMean > 0.03 || s.Band > 0.06 || s.Baseline < 2*s.HeldOutMean {
		t.Errorf("errors on shapes held out: mean %g, band %g, baseline %g", s.HeldOutMean, s.Band, s.Baseline)
	}
}

// The token counts and widths that a source timed tell the rows that a product of the
// two stands for.
func TestCallsOfAProduct(t *testing.T) {
	row := Row{Words: [2]string{"silu_mul"}, Args: [13]float64{528384, 2, 1}, DType: "fp16", Source: "vidur"}
	var got [][2]float64
	for _, c := range callsOf(&row) {
		got = append(got, [2]float64{c.Rows, c.Cols})
	}
	if want := [][2]float64{{48, 11008}, {24, 22016}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v elements are read as %v, want %v", row.Args[0], got, want)
	}
	row.Source = "neusight"
	if c := callsOf(&row); len(c) != 1 || c[0].Rows != 0 || c[0].Bytes != 3*2*528384 {
		t.Errorf("another source's row is read as %+v", c)
	}
	if kernelsOf("softsign_3kernels") != 3 || kernelsOf("strided_copy_8") != 1 || kernelsOf("relu") != 1 {
		t.Error("functions are read as the wrong number of kernels")
	}
}

// The kernels that come with the program are what the fit gives.
func TestStreamsAreWhatTheFitGives(t *testing.T) {
	data := measurements(t)
	m, err := ReadMeasurements(filepath.Join(data, "ops", "elementwise.csv"))
	if err != nil {
		t.Fatal(err)
	}
	shipped, err := hwmodel.Load("l40-48gb")
	if err != nil {
		t.Fatal(err)
	}
	p := &hwmodel.Profile{Device: shipped.Device}
	if err := elementwise.fit(p, rowsByGPU(m.Rows["elementwise"])["l40"]); err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Streams {
		q, _ := shipped.Stream(s.Engine, s.DType, s.Function)
		if !reflect.DeepEqual(*q, s) {
			t.Errorf("shipped is %+v, fitted %+v", *q, s)
		}
	}
	if len(p.Streams) == 0 {
		t.Error("nothing was fitted")
	}
}
