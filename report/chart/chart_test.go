package chart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// fatal is what *testing.T and *rapid.T have in common.
type fatal interface {
	Helper()
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func render(t fatal, c Charter, f Format) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := c.Render(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// texts returns what is written in an SVG, in order of drawing, and checks that the
// document is well-formed and draws nothing outside the picture.
func texts(t fatal, svg []byte) []string {
	t.Helper()
	var out []string
	var width, height float64
	var inText bool
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			inText = e.Name.Local == "tspan"
			for _, a := range e.Attr {
				switch {
				case a.Name.Local == "viewBox":
					f := strings.Fields(a.Value)
					width, _ = strconv.ParseFloat(f[2], 64)
					height, _ = strconv.ParseFloat(f[3], 64)
				case e.Name.Local == "path" && a.Name.Local == "d":
					checkPath(t, a.Value, width, height)
				}
			}
			switch e.Name.Local {
			case "svg", "title", "path", "text", "tspan":
			default:
				t.Errorf("element <%s> came out of somebody's text", e.Name.Local)
			}
		case xml.CharData:
			if inText {
				out = append(out, string(e))
			}
		case xml.EndElement:
			inText = false
		}
	}
}

func checkPath(t fatal, d string, width, height float64) {
	t.Helper()
	var numbers []float64
	for _, f := range strings.Fields(d) {
		if v, err := strconv.ParseFloat(f, 64); err == nil {
			numbers = append(numbers, v)
		}
	}
	for i := 0; i+1 < len(numbers); i += 2 {
		if x, y := numbers[i], numbers[i+1]; x < 0 || x > width || y < 0 || y > height {
			t.Errorf("a path goes to (%v, %v), outside the picture of %v by %v", x, y, width, height)
			return
		}
	}
}

func TestEverySampleDraws(t *testing.T) {
	again := samples()
	for name, chart := range samples() {
		t.Run(name, func(t *testing.T) {
			svg := render(t, chart, SVG)
			texts(t, svg)
			if !bytes.Equal(svg, render(t, again[name], SVG)) {
				t.Error("the same chart gave two different SVGs")
			}
			picture := render(t, chart, PNG)
			if kind := name == "cdf" || name == "lines" || name == "panels" || name == "bars"; kind && !bytes.Equal(picture, render(t, again[name], PNG)) {
				t.Error("the same chart gave two different PNGs")
			}
			img, err := png.Decode(bytes.NewReader(picture))
			if err != nil {
				t.Fatal(err)
			}
			if img.Bounds().Dx() != 3*defaultWidth {
				t.Errorf("the PNG is %d pixels wide, want %d", img.Bounds().Dx(), 3*defaultWidth)
			}
		})
	}
}

func TestChartsWithoutDataSaySo(t *testing.T) {
	for name, chart := range samples() {
		want := strings.HasPrefix(name, "empty") || strings.HasPrefix(name, "no-")
		if got := strings.Contains(strings.Join(texts(t, render(t, chart, SVG)), "\n"), "no data"); got != want && name != "gaps" {
			t.Errorf("%s says that there is no data: %v, want %v", name, got, want)
		}
	}
}

func TestSVGTextIsEscaped(t *testing.T) {
	all := texts(t, render(t, samples()["escape"], SVG))
	for _, want := range []string{"<script>alert(1)</script> & Co.", "x < y", "&amp;", "<b>&", "a<b"} {
		found := false
		for _, s := range all {
			found = found || s == want
		}
		if !found {
			t.Errorf("%q is not among the texts of the picture: %q", want, all)
		}
	}
}

func TestNamesStandBesideTheirLines(t *testing.T) {
	samples := samples()
	for name, legend := range map[string]bool{"lines": false, "cdf": false, "lines-many": true, "gaps": true} {
		// In a legend, the names come before the labels of the axes.
		svg := string(render(t, samples[name], SVG))
		l, ok := samples[name].(Lines)
		series := samples["cdf"].(CDF).Series
		if ok {
			series = l.Series
		}
		at := strings.Index(svg, ">"+series[0].Name+"<")
		first := strings.Index(svg, ">0<")
		if name == "cdf" {
			first = strings.Index(svg, ">0 %<")
		}
		if at < 0 || first < 0 || (at < first) != legend {
			t.Errorf("%s: name at byte %d, first tick at %d; want a legend: %v", name, at, first, legend)
		}
	}
}

func TestDataThatDoesNotFitTogetherIsRefused(t *testing.T) {
	ragged := []Series{{Name: "r", X: []float64{1, 2}, Y: []float64{1}}}
	for _, c := range []struct {
		chart Charter
		want  string
	}{
		{Lines{Series: ragged}, `series "r" has 2 x and 1 y; want as many of each`},
		{CDF{Series: ragged}, `series "r" has 2 x and 1 y; want as many of each`},
		{Panels{Panels: []Panel{{Series: ragged}}}, `series "r" has 2 x and 1 y; want as many of each`},
		{
			Lines{Series: []Series{{Name: "b", X: []float64{1}, Y: []float64{1}, Low: []float64{1}}}},
			`series "b" has 1 low, 0 high and 1 y; want as many of each, or no low and high`,
		},
		{
			Bars{Groups: []string{"a", "b"}, Series: []BarSeries{{Name: "s", Y: []float64{1}}}},
			`series "s" has 1 bars for 2 groups; want as many`,
		},
		{
			Bars{Groups: []string{"a"}, Series: []BarSeries{{Name: "s", Y: []float64{1}, High: []float64{1, 2}}}},
			`series "s" has 0 low and 2 high ends for 1 bars; want as many, or none`,
		},
	} {
		if err := c.chart.Render(io.Discard, PNG); err == nil || err.Error() != "chart: "+c.want {
			t.Errorf("got  %v\nwant chart: %s", err, c.want)
		}
	}
	if err := (Lines{}).Render(io.Discard, Format(7)); err == nil {
		t.Error("format 7 was drawn")
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAWriterThatFailsIsReported(t *testing.T) {
	for _, f := range []Format{PNG, SVG} {
		if err := (Lines{}).Render(fullDisk{}, f); err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("format %d: %v; want the writer's error", f, err)
		}
	}
}

// TestAnyNumbersDraw draws what nobody would, looking for panics and for lines
// outside the picture.
func TestAnyNumbersDraw(t *testing.T) {
	number := rapid.OneOf(
		rapid.Float64(),
		rapid.SampledFrom([]float64{0, 1, -1, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, 1e-300, 1e300}),
	)
	axis := rapid.Custom(func(t *rapid.T) Axis {
		return Axis{
			Unit: rapid.SampledFrom([]Unit{Number, Seconds, Percent}).Draw(t, "unit"), Log: rapid.Bool().Draw(t, "log"),
			Min: rapid.SampledFrom([]float64{0, 1, -5, math.NaN()}).Draw(t, "min"), Max: rapid.SampledFrom([]float64{0, 3, 1e300}).Draw(t, "max"),
		}
	})
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(0, 6).Draw(r, "n")
		numbers := rapid.SliceOfN(number, n, n)
		s := Series{Name: "s", X: numbers.Draw(r, "x"), Y: numbers.Draw(r, "y"), Points: rapid.Bool().Draw(r, "points")}
		if rapid.Bool().Draw(r, "band") {
			s.Low, s.High = numbers.Draw(r, "low"), numbers.Draw(r, "high")
		}
		x, y := axis.Draw(r, "xaxis"), axis.Draw(r, "yaxis")
		marks := []Mark{{number.Draw(r, "mark"), "mark"}}
		groups := make([]string, n)
		for _, chart := range []Charter{
			Lines{X: x, Y: y, Series: []Series{s}, XMarks: marks, YMarks: marks},
			CDF{X: x, Series: []Series{s}, Marks: marks, Tail: rapid.Bool().Draw(r, "tail")},
			Panels{X: x, Panels: []Panel{{Y: y, Series: []Series{s}, Marks: marks}}, XMarks: marks},
			Bars{Groups: groups, Y: y, Series: []BarSeries{{Y: s.Y, Low: s.Low, High: s.High}}, Marks: marks},
		} {
			texts(r, render(r, chart, SVG))
		}
	})
}
