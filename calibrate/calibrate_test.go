package calibrate

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"orrery/hwmodel"
)

// measurements returns the folder of measurements beside the repository, and skips
// the test where there is none.
func measurements(t *testing.T) string {
	t.Helper()
	dir := filepath.Join("..", "..", "shared", "data")
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		t.Skip("the measurements are not beside the repository")
	}
	return dir
}

// A fit finds the constants that made the data, although one source adds an overhead
// of its own and a few rows are torn.
func TestFitFindsWhatMadeTheData(t *testing.T) {
	truth := hwmodel.Send{Latency: 4e-6, Rate: 0.7e12}
	const overhead = 30e-6
	r := rand.New(rand.NewPCG(1, 2))
	var rows []Row
	for i := range 600 {
		bytes := math.Exp(r.Float64()*16 + 6)
		row := Row{Shape: fmt.Sprint(i), Source: "clean", Args: [13]float64{bytes}}
		row.Seconds = truth.Time(bytes) * math.Exp(0.02*r.NormFloat64())
		if i%3 == 0 {
			row.Source = "eager"
			row.Seconds += overhead
		}
		if i%50 == 0 {
			row.Seconds *= 20
		}
		rows = append(rows, row)
	}
	p := Problem{
		Name: "send", Rows: rows, Clean: []string{"clean"},
		Parameters: []Parameter{
			{Name: "launch", Start: 1e-5, Low: 1e-7, High: 1e-3, Logarithms: true},
			{Name: "rate", Start: 4e11, Low: 5e10, High: 1e12},
		},
		Predict: func(p []float64, r *Row) float64 {
			s := hwmodel.Send{Latency: p[0], Rate: p[1]}
			return s.Time(r.Args[0])
		},
	}
	res, err := p.Solve()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{truth.Latency, truth.Rate} {
		if got := res.Values[i]; math.Abs(got/want-1) > 0.03 {
			t.Errorf("%s is fitted as %g, made with %g", p.Parameters[i].Name, got, want)
		}
	}
	if got := res.Overhead["eager"]; math.Abs(got/overhead-1) > 0.03 || len(res.Overhead) != 1 {
		t.Errorf("overheads are fitted as %v, made with %g for one source", res.Overhead, overhead)
	}
	if res.Fit.HeldOutMedian > 0.03 {
		t.Errorf("the median error on rows held out is %.1f %%, the noise is 2 %%", 100*res.Fit.HeldOutMedian)
	}
	again, err := p.Solve()
	if err != nil || !reflect.DeepEqual(res, again) {
		t.Errorf("the same fit ends differently: %+v and %+v (%v)", res, again, err)
	}
}

// About one shape in four is held out, whoever measured it.
func TestHeldOutShapes(t *testing.T) {
	held := 0
	for i := range 4000 {
		a := Row{Shape: fmt.Sprintf("gemm 1 %d 4096 4096", i), Source: "one"}
		b := Row{Shape: a.Shape, Source: "another", Seconds: 1}
		if a.HeldOut() != b.HeldOut() {
			t.Fatalf("shape %q is held out from one source only", a.Shape)
		}
		if a.HeldOut() {
			held++
		}
	}
	if held < 850 || held > 1150 {
		t.Errorf("%d of 4000 shapes are held out, want about 1000", held)
	}
}

// Rows that beat physics are dropped: their shape cannot be what the file says.
func TestImpossibleRowsAreDropped(t *testing.T) {
	rows := []Row{{Shape: "slow", Seconds: 2}, {Shape: "too quick", Seconds: 0.5}}
	got := possible(rows, func(*Row) float64 { return 1 })
	if len(got) != 1 || got[0].Shape != "slow" {
		t.Errorf("left are %v", got)
	}
}

func TestTornTables(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "no header"},
		{"a,b\n1,2\n", `no column "time"`},
		{"a,time\n1,fast\n", `t.csv:2: time is "fast", not a number`},
		{"a,time\n1\n", "wrong number of fields"},
	} {
		path := filepath.Join(t.TempDir(), "t.csv")
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		err := ReadTable(path, []string{"a", "time"}, func(t *Table) error { t.Number("time"); return nil })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error is %v, want %q", c.text, err, c.want)
		}
	}
}

// written returns the measured ones of collectives as their file has them.
func written(t *testing.T, cs []hwmodel.Collective) []byte {
	t.Helper()
	p := &hwmodel.Profile{}
	for _, c := range cs {
		if !c.Derived {
			p.Collectives = append(p.Collectives, c)
		}
	}
	data, err := EncodeProfile(p, "")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The files that come with the program are what the fit writes, so that no constant
// was changed by hand. The searches take the same steps on one kind of machine only.
func TestFilesAreWhatTheFitWrites(t *testing.T) {
	data := measurements(t)
	if runtime.GOARCH != "amd64" {
		t.Skip("the files were written on amd64")
	}
	var all []*hwmodel.Profile
	for _, d := range Boards() { // in the order of the fit
		p, err := hwmodel.Load(d.Name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	m, err := ReadMeasurements(filepath.Join(data, "ops", "comm.csv")) // the large fits take minutes
	if err != nil {
		t.Fatal(err)
	}
	if err := FitProfiles(all, m, []*Operator{comm}, nil); err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		shipped, err := hwmodel.Load(p.Device.Name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(written(t, p.Collectives), written(t, shipped.Collectives)) {
			t.Errorf("the collectives of %s are not what the fit gives; run go run ./calibrate/fit", p.Device.Name)
		}
	}
	engines, err := FitEngines(data, all)
	if err != nil {
		t.Fatal(err)
	}
	artefact, err := FitArtefact(data, engines[0], all)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range append(engines, artefact) {
		shipped, err := hwmodel.LoadEngine(e.Name)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(e, shipped) {
			t.Errorf("%s.toml is not what the fit gives; run go run ./calibrate/fit", e.Name)
		}
	}
}
