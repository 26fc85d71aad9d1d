package jobs

import (
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func take(t *testing.T, m Mix, seed uint64) []Job {
	t.Helper()
	s, err := m.Source(seed)
	if err != nil {
		t.Fatal(err)
	}
	var out []Job
	for {
		j, ok := s.Next()
		if !ok {
			return out
		}
		out = append(out, j)
	}
}

// near fails unless a part of n draws is what it should be, give or take 4.5 standard errors.
func near(t *testing.T, what string, got, want float64, n int) {
	t.Helper()
	if slack := 4.5 * math.Sqrt(want*(1-want)/float64(n)); math.Abs(got-want) > slack {
		t.Errorf("%s is %.4f, want %.4f +- %.4f", what, got, want, slack)
	}
}

func TestGangsAreAsGavelDrawsThem(t *testing.T) {
	const n = 40000
	list := take(t, Mix{Rate: 60, Jobs: n, Types: Types, Sizes: Gavel, Rigid: true, Deadlines: 0.3}, 1)
	width, class := map[int]float64{}, map[string]float64{}
	long, short, late, logs := 0.0, 0.0, 0.0, 0.0
	for _, j := range list {
		width[j.Widths[0]] += 1. / n
		class[j.Class] += 1. / n
		minutes := j.Total / j.Samples[1][0] / 60 // on V100s
		if minutes > 1000 {
			long += 1. / n
		} else {
			logs += (math.Log10(minutes) - 1.5) / 1.5
			short++
		}
		if minutes < 31 || minutes > 10001 {
			t.Fatalf("a job takes %v minutes; Gavel's take 10^1.5 to 10^4", minutes)
		}
		if j.Deadline > 0 {
			late += 1. / n
		}
	}
	for w, want := range map[int]float64{1: 0.7, 2: 0.1, 4: 0.15, 8: 0.05} {
		near(t, "part of width "+strconv.Itoa(w), width[w], want, n)
	}
	for _, c := range Classes() {
		near(t, "part of "+c.Name, class[c.Name], 0.25, n)
	}
	near(t, "part of long jobs", long, 0.2, n)
	near(t, "part with a deadline", late, 0.3, n)
	if mean := logs / short; math.Abs(mean-0.5) > 4.5/math.Sqrt(12*short) {
		t.Errorf("the mean of the uniform exponent of short jobs is %v, want a half", mean)
	}
	if gap := list[n-1].Arrived.Seconds() / n; math.Abs(gap-60) > 4.5*60/math.Sqrt(n) {
		t.Errorf("one job in %v s, want 60", gap)
	}
}

func TestElasticJobsAreAsInSiasTraces(t *testing.T) {
	const n = 40000
	hours := map[string]float64{}
	for _, j := range take(t, Mix{Rate: 60, Jobs: n, Types: Types, Sizes: Philly}, 1) {
		h := j.Total / j.Samples[0][0] / 3600 // of a 2080 Ti
		kind := "S"
		switch {
		case h > 100:
			kind = "XL"
		case h > 10:
			kind = "L"
		case h > 1:
			kind = "M"
		}
		hours[kind] += 1. / n
		if want := map[string]string{"S": "cifar10", "L": "imagenet", "XL": "imagenet"}[kind]; want != "" && j.Class != want {
			t.Fatalf("a job of %v h is %s", h, j.Class)
		}
		if !slices.Equal(j.Widths, Widths) {
			t.Fatalf("widths %v", j.Widths)
		}
		for k := range j.Speed {
			for i, w := range j.Widths {
				if v := j.Speed[k][i]; v > j.Samples[k][i] || w == 1 && v != j.Samples[k][i] {
					t.Fatalf("%s makes %v of %v samples on %d devices", j.Class, v, j.Samples[k][i], w)
				}
			}
		}
	}
	for kind, want := range map[string]float64{"S": 0.84, "M": 0.12, "L": 0.02, "XL": 0.02} {
		near(t, "part of "+kind, hours[kind], want, n)
	}
}

// The part of deadlines, or the rate, does not change which jobs come.
func TestDrawsDoNotShiftOneAnother(t *testing.T) {
	a := take(t, Mix{Rate: 60, Jobs: 500, Types: Types, Sizes: Gavel, Rigid: true}, 9)
	b := take(t, Mix{Rate: 6, Jobs: 500, Types: Types[:1], Sizes: Gavel, Rigid: true, Deadlines: 1}, 9)
	for i := range a {
		if a[i].Class != b[i].Class || a[i].Total != b[i].Total || math.Abs(a[i].Arrived.Seconds()*10-b[i].Arrived.Seconds()) > 1e-6 {
			t.Fatalf("job %d: %+v, and with other settings %+v", i, a[i], b[i])
		}
	}
}

func TestMixesThatMakeNoSense(t *testing.T) {
	good := Mix{Rate: 1, Jobs: 1, Types: Types, Sizes: Philly}
	for want, spoil := range map[string]func(*Mix){
		"want above 0 and at most 1e6":    func(m *Mix) { m.Rate = math.NaN() },
		"want 1 or more, or 0 for no end": func(m *Mix) { m.Jobs = -1 },
		"no types of devices":             func(m *Mix) { m.Types = nil },
		`no rates of training on "tpu"`:   func(m *Mix) { m.Types = []string{"tpu"} },
		"want one of [philly gavel]":      func(m *Mix) { m.Sizes = "" },
		"want 0 to 1":                     func(m *Mix) { m.Deadlines = 1.5 },
	} {
		m := good
		spoil(&m)
		if _, err := m.Source(1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", m, err, want)
		}
	}
}

// Each rate in the table is the best of those measured, to three digits.
func TestRatesAreThoseMeasured(t *testing.T) {
	f, err := os.Open(filepath.Join("..", "..", "..", "shared", "data", "engine", "training_steps_sia.csv"))
	if err != nil {
		t.Skip("the measurements are not here:", err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	type cell struct {
		model string
		typ   int
		width int
	}
	best := map[cell]float64{}
	types := map[string]int{"rtx_2080ti": 0, "v100_sxm_32g": 1, "a100_sxm_40g": 2}
	for _, r := range rows[1:] { // gpu, model, placement, nodes, gpus, local_bsz, step_time_s, sync_time_s
		typ, ok := types[r[0]]
		width, batch, seconds := number(t, r[4]), number(t, r[5]), number(t, r[6])
		if placed := r[2] == r[4] || r[2] == "88"; ok && placed { // one node, or two full ones
			c := cell{r[1], typ, int(width)}
			best[c] = max(best[c], width*batch/seconds)
		}
	}
	for _, c := range Classes() {
		for typ := range Types {
			for i, w := range Widths {
				want := best[cell{c.Name, typ, w}]
				if got := c.samples[typ][i]; math.Abs(got/want-1) > 0.006 {
					t.Errorf("%s on %d of %s: %v samples a second, measured %.4g", c.Name, w, Types[typ], got, want)
				}
			}
		}
	}
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	x, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return x
}
