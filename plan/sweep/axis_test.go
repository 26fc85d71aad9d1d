package sweep

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseAxis(t *testing.T) {
	for text, want := range map[string]string{
		"policy.batch=vllm,sarathi":       "policy.batch=vllm,sarathi",
		"policy.batch = vllm , sarathi":   "policy.batch=vllm,sarathi",
		`a.b="x,y",[1,2],{c=1,d=2},'p,q'`: `a.b="x,y",[1,2],{c=1,d=2},'p,q'`,
		"a.b=one":                         "a.b=one",
		"a.b=../traces/day.csv":           "a.b=../traces/day.csv",
		"a.b=./x..y":                      "a.b=./x..y",
		"traffic.rate=1..8:3":             "traffic.rate=1,5,8",
		"traffic.rate=1.0..8.0:3":         "traffic.rate=1.0,4.5,8.0",
		"traffic.rate=0..1:2":             "traffic.rate=0,1",
		"traffic.rate=0.1..0.3:3":         "traffic.rate=0.1,0.2,0.3",
		"policy.budget=256..4096:5log":    "policy.budget=256,512,1024,2048,4096",
		"slo.ttft=100ms..1s:4":            `slo.ttft="100ms","400ms","700ms","1s"`,
		"slo.ttft=0..1s:2":                `slo.ttft="0s","1s"`,
		"x=-2..2:5":                       "x=-2,-1,0,1,2",
		"x=1e-3..1e3:3log":                "x=0.001,1.0,1000.0",
		"x=1..8":                          "x=1..8",
		"x=1.0..8:log":                    "x=1.0..8.0:log",
		"slo.ttft=100ms..2s:log":          "slo.ttft=100ms..2s:log",
	} {
		a, err := ParseAxis(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := a.String(); got != want {
			t.Errorf("%s is read as %s; want %s", text, got, want)
		}
		if (a.Range == nil) == (a.Values == nil) {
			t.Errorf("%s is a list and a range, or neither", text)
		}
	}
}

func TestParseAxisRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "no key",
		"policy.batch":           "no key",
		"=1,2":                   "no key",
		"a=":                     "no key",
		"a=1,,2":                 "a value is missing",
		"a=1,2,":                 "a value is missing",
		"a=1,2,1":                "1 is there twice",
		"seed=1,2":               "same seeds",
		"a=1..x":                 "two numbers or two durations",
		"a=1..2s":                "two numbers or two durations",
		"a=1,2..3":               "two numbers or two durations",
		"a=8..1":                 "the lower one first",
		"a=1..1":                 "the lower one first",
		"a=1..8:1":               "1 values",
		"a=1..8:-3":              "-3 values",
		"a=1..8:1.5":             "1.5 values",
		"a=1..8:10000000":        "10000000 values",
		"a=1..8:":                "nothing behind the colon",
		"a=1..8:lin":             "lin values",
		"a=0..8:3log":            "above zero",
		"a=-1..8:log":            "above zero",
		"a=1..3:9":               "no 9 different values",
		"a=0..inf:3":             "two numbers or two durations|not finite",
		"a=0..nan":               "two numbers or two durations|not finite",
		"a=0..99999999999999999": "too far from zero",
		"a=1\nb=2":               "no key",
	} {
		a, err := ParseAxis(text)
		if err == nil {
			t.Errorf("%q is read as %v", text, a)
			continue
		}
		one := slices.ContainsFunc(strings.Split(want, "|"), func(w string) bool { return strings.Contains(err.Error(), w) })
		if !one || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: said %q; want %q in it", text, err, want)
		}
	}
}

// A grid goes from end to end in equal steps, or equal ratios, within what nine digits or whole
// numbers can say, and is read back as it is written.
func TestGridIsEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole, log := rapid.Bool().Draw(t, "whole"), rapid.Bool().Draw(t, "log")
		low := rapid.Float64Range(-1e6, 1e6).Draw(t, "low")
		if log {
			low = rapid.Float64Range(1e-3, 1e6).Draw(t, "low of ratios")
		}
		n := rapid.IntRange(2, 50).Draw(t, "n")
		high := low + rapid.Float64Range(1e-3, 1e6).Draw(t, "width")
		write := func(x float64) string {
			if whole {
				return strconv.FormatFloat(math.Ceil(x), 'f', 0, 64)
			}
			return strconv.FormatFloat(x, 'f', 6, 64) + "0"
		}
		text := "a.b=" + write(low) + ".." + write(high) + ":" + strconv.Itoa(n)
		if log {
			text += "log"
		}
		a, err := ParseAxis(text)
		if err != nil {
			return // too narrow for so many
		}
		again, err := ParseAxis(a.String())
		if err != nil || again.String() != a.String() || len(a.Values) != n {
			t.Fatalf("%s: %v is read back as %v, %v", text, a, again, err)
		}
		values := make([]float64, n)
		for i, v := range a.Values {
			values[i], err = strconv.ParseFloat(v, 64)
			if err != nil || whole != isWhole(v) {
				t.Fatalf("%s: value %s", text, v)
			}
		}
		first, last := values[0], values[n-1]
		ends := func(x float64) float64 { v, _ := strconv.ParseFloat(write(x), 64); return v }
		if first != ends(low) || last != ends(high) {
			t.Fatalf("%s: from %v to %v", text, first, last)
		}
		for i, v := range values {
			u := float64(i) / float64(n-1)
			want := first*(1-u) + last*u
			if log {
				want = math.Pow(first, 1-u) * math.Pow(last, u)
			}
			slack := 1e-8 * max(math.Abs(first), math.Abs(last))
			if whole {
				slack = 0.5 + 1e-3
			}
			if math.Abs(v-want) > slack {
				t.Fatalf("%s: value %d is %v; want %v", text, i, v, want)
			}
		}
	})
}

// Of n points of a Latin hypercube each n-th part of each range has one; another key leaves them
// where they were.
func TestLatinHypercube(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 200).Draw(t, "n")
		spec := Spec{Sample: n, Draw: rapid.Uint64().Draw(t, "seed"), Seeds: []uint64{1}}
		for _, text := range []string{"a=0.0..1.0", "b=0.001..1000.0:log", "c=0s..1s"} {
			axis, err := ParseAxis(text)
			if err != nil {
				t.Fatal(err)
			}
			spec.Axes = append(spec.Axes, axis)
		}
		points := spec.drawn()
		for i, at := range []func(string) float64{
			func(v string) float64 { x, _ := strconv.ParseFloat(v, 64); return x },
			func(v string) float64 { x, _ := strconv.ParseFloat(v, 64); return (math.Log10(x) + 3) / 6 },
			func(v string) float64 { d, _ := time.ParseDuration(bare(v)); return d.Seconds() },
		} {
			in := make([]int, n)
			for _, v := range points[i] {
				in[min(int(at(v)*float64(n)*(1+1e-9)), n-1)]++
			}
			// Rounding to nine digits may carry a point over the border of its part.
			if bad := len(in) - countOf(in, 1); bad > 2 {
				t.Fatalf("axis %d: parts with other than one point: %d of %v", i, bad, in)
			}
		}
		alone := Spec{Axes: spec.Axes[2:], Sample: n, Draw: spec.Draw}
		if !slices.Equal(alone.drawn()[0], points[2]) {
			t.Fatal("the points of c depend on the other keys")
		}
	})
}

func countOf(list []int, x int) (n int) {
	for _, y := range list {
		if y == x {
			n++
		}
	}
	return n
}

// Points that are drawn one by one stay when more are asked for, and all whole numbers of a range
// are equally likely, the ends too.
func TestRandomPoints(t *testing.T) {
	axis, err := ParseAxis("a=1..4")
	if err != nil {
		t.Fatal(err)
	}
	draw := func(n int) []string {
		s := Spec{Axes: []Axis{axis}, Sample: n, Method: Random, Draw: 3}
		return s.drawn()[0]
	}
	const n = 4000
	many := draw(n)
	if !slices.Equal(draw(10), many[:10]) {
		t.Error("a larger sample begins with other points")
	}
	count := map[string]int{}
	for _, v := range many {
		count[v]++
	}
	for _, v := range []string{"1", "2", "3", "4"} {
		if c := count[v]; math.Abs(float64(c)-n/4) > 5*math.Sqrt(n*0.25*0.75) { // five standard deviations
			t.Errorf("%s is drawn %d times of %d", v, c, n)
		}
	}
}

func TestSpecRefuses(t *testing.T) {
	axis := func(text string) Axis {
		a, err := ParseAxis(text)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	one := []uint64{1}
	for want, s := range map[string]Spec{
		"nothing is varied":              {Seeds: one},
		"a is varied twice":              {Axes: []Axis{axis("a=1,2"), axis("a=3")}, Seeds: one},
		"without a number of values":     {Axes: []Axis{axis("a=1..2")}, Seeds: one},
		"5 points of no range":           {Axes: []Axis{axis("a=1,2")}, Sample: 5, Seeds: one},
		"no seed":                        {Axes: []Axis{axis("a=1,2")}},
		"more than 1000000 runs":         {Axes: []Axis{axis("a=1..2000:2000"), axis("b=1..2000:2000")}, Seeds: one},
		"more than 1000000 runs; want f": {Axes: []Axis{axis("a=1..2"), axis("b=1..2000:2000")}, Sample: 1000, Seeds: one},
	} {
		if err := s.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("said %v; want %q", err, want)
		}
	}
}

// The last list is the fastest, and every combination is there once.
func TestSettingsAreTheProduct(t *testing.T) {
	s := Spec{Sample: 2, Seeds: []uint64{1}}
	for _, text := range []string{"a=x,y", "r=0..9", "b=1,2,3"} {
		a, err := ParseAxis(text)
		if err != nil {
			t.Fatal(err)
		}
		s.Axes = append(s.Axes, a)
	}
	points := s.drawn()[1]
	var want []string
	for _, a := range []string{"x", "y"} {
		for _, b := range []string{"1", "2", "3"} {
			for _, r := range points {
				want = append(want, "a="+a+" r="+r+" b="+b)
			}
		}
	}
	for i, setting := range s.settings() {
		var got []string
		for _, x := range setting {
			got = append(got, x.Key+"="+x.Value)
		}
		if strings.Join(got, " ") != want[i] {
			t.Errorf("setting %d is %v; want %s", i, got, want[i])
		}
	}
}

// Whatever a user types is read or refused in one line, and what is read is read back the same.
func FuzzParseAxis(f *testing.F) {
	for _, text := range []string{"a=1,2", "a=1..8:3", "a=1..8:log", "a.b=\"x,y\",[1,2]", "a=1ms..2s:5log", "=", "a=..", "a=1...5", "a=1..2:", "a={,", "a=-9..9:7"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAxis(text)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("%q: several lines: %q", text, err)
			}
			return
		}
		if len(a.Values) > 1000 {
			return
		}
		b, err := ParseAxis(a.String())
		if err != nil || b.String() != a.String() {
			t.Errorf("%q is read as %q, and that as %q, %v", text, a, b, err)
		}
	})
}
