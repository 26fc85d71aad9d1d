package chart

import (
	"bytes"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// pictures names a folder to write all samples to, for a human to look at:
//
//	go test ./report/chart -run Pictures -pictures /some/folder
var pictures = flag.String("pictures", "", "folder to write the sample charts to")

// samples are charts as reports draw them, and some that are hard to draw.
func samples() map[string]Charter {
	rng := rand.New(rand.NewPCG(1, 2))
	lognormal := func(median, sigma float64) []float64 {
		out := make([]float64, 20000)
		for i := range out {
			out[i] = median * math.Exp(sigma*rng.NormFloat64())
		}
		return out
	}
	slo := []Mark{{0.1, "SLO 100 ms"}}
	cdf := CDF{
		Title:    "Time between tokens",
		Subtitle: "Mistral-7B on one A100, chat traffic at 2.0 requests/s, 2,048 requests, 5 seeds",
		X:        Axis{Label: "time between tokens", Unit: Seconds, Log: true},
		YLabel:   "share of tokens",
		Series: []Series{
			Empirical("vLLM", append(lognormal(0.022, 0.15), lognormal(0.5, 0.5)[:900]...)),
			Empirical("Orca", append(lognormal(0.03, 0.2), lognormal(0.8, 0.4)[:2500]...)),
			Empirical("Sarathi-Serve", lognormal(0.048, 0.25)),
		},
		Marks: slo,
	}
	tailed := cdf
	tailed.Tail = true
	tailed.Subtitle = "The same on an axis that stretches the tail"

	load := make([]float64, 14)
	curve := func(capacity float64) Series {
		s := Series{Points: true}
		for i := range load {
			load[i] = 0.25 * float64(i+1)
			if load[i] >= capacity {
				continue
			}
			y := 0.2 + 0.08*load[i]/(1-load[i]/capacity)
			s.X, s.Y = append(s.X, load[i]), append(s.Y, y)
			s.Low, s.High = append(s.Low, y*(1-0.1*load[i]/capacity)), append(s.High, y*(1+0.25*load[i]/capacity))
		}
		return s
	}
	vllm, sarathi, orca := curve(2.1), curve(3.4), curve(1.3)
	vllm.Name, sarathi.Name, orca.Name = "vLLM", "Sarathi-Serve", "Orca"
	lines := Lines{
		Title:    "Latency over load",
		Subtitle: "P99 time to first token; bands are 95 % intervals over 5 seeds",
		X:        Axis{Label: "requests/s"},
		Y:        Axis{Label: "P99 time to first token", Unit: Seconds},
		Series:   []Series{vllm, sarathi, orca},
		YMarks:   []Mark{{1, "SLO 1 s"}},
	}
	logged := lines
	logged.Y.Log = true
	logged.XMarks = []Mark{{2.6, "today's peak"}}

	seconds := make([]float64, 500)
	queue, running, kv, busy, second := make([]float64, 500), make([]float64, 500), make([]float64, 500), make([]float64, 500), make([]float64, 500)
	for i := range seconds {
		seconds[i] = float64(i) * 2400 / 500
		wave := math.Sin(float64(i) / 40)
		queue[i] = math.Max(0, math.Round(20*wave+6*rng.NormFloat64()))
		running[i] = math.Round(80 + 40*wave + 5*rng.NormFloat64())
		kv[i] = math.Min(1, 0.7+0.35*wave+0.02*rng.NormFloat64())
		busy[i] = math.Min(1, 0.8+0.2*wave+0.02*rng.NormFloat64())
		second[i] = running[i] * 0.6
	}
	panels := Panels{
		Title:    "Replica 0 over time",
		Subtitle: "Azure conversation traffic, 40 minutes on one A100, vLLM V1",
		X:        Axis{Label: "time", Unit: Seconds},
		Panels: []Panel{
			{Title: "Queue", Y: Axis{Label: "requests waiting"}, Series: []Series{{X: seconds, Y: queue}}},
			{Title: "Running", Y: Axis{Label: "sequences"}, Series: []Series{{Name: "replica 0", X: seconds, Y: running}, {Name: "replica 1", X: seconds, Y: second}}},
			{Title: "KV cache", Y: Axis{Label: "share of blocks in use", Unit: Percent, Max: 1}, Series: []Series{{X: seconds, Y: kv}}, Marks: []Mark{{0.99, "watermark"}}},
			{Title: "GPU", Y: Axis{Label: "share of time busy", Unit: Percent, Max: 1}, Series: []Series{{X: seconds, Y: busy}}},
		},
		XMarks: []Mark{{300, "end of warm-up"}},
	}
	bars := Bars{
		Title:    "Capacity within the SLO",
		Subtitle: "Highest Poisson rate with P99 TBT within the SLO and a median scheduling delay of 2 s at most",
		Groups:   []string{"Mistral-7B strict", "Mistral-7B relaxed", "Yi-34B strict", "Yi-34B relaxed"},
		Y:        Axis{Label: "requests/s"},
		Series: []BarSeries{
			{Name: "Orca", Y: []float64{0.49, 1.1, 0.18, 0.51}, Low: []float64{0.45, 1.0, 0.16, 0.47}, High: []float64{0.53, 1.2, 0.2, 0.55}},
			{Name: "vLLM", Y: []float64{0.77, 1.85, 0.25, 0.73}, Low: []float64{0.7, 1.8, 0.22, 0.7}, High: []float64{0.8, 1.95, 0.3, 0.76}},
			{Name: "Sarathi-Serve", Y: []float64{1.98, 2.31, 0.92, math.NaN()}, Low: []float64{1.9, 2.2, 0.85, 1}, High: []float64{2.05, 2.4, 1.0, 1.1}},
		},
	}
	nan, inf := math.NaN(), math.Inf(1)
	return map[string]Charter{
		"cdf": cdf, "cdf-tail": tailed, "lines": lines, "lines-log": logged, "panels": panels, "bars": bars,
		"cdf-one":    CDF{Title: "Scheduling delay", X: Axis{Unit: Seconds, Log: true, Label: "delay"}, Series: []Series{Empirical("all", append(make([]float64, 12000), lognormal(0.3, 1)[:8000]...))}},
		"lines-many": manyLines(),
		"escape":     Lines{Title: `a < b & "c" > d` + "\x00\n\xff", Subtitle: "<script>alert(1)</script> & Co.", X: Axis{Label: "x < y"}, Y: Axis{Label: "&amp;"}, Series: []Series{{Name: "<b>&", X: []float64{1, 2}, Y: []float64{1, 2}}}, YMarks: []Mark{{1.5, "a<b"}}},
		"empty":      Lines{Title: "Nothing finished", X: Axis{Log: true, Unit: Seconds}, Series: []Series{{Name: "a"}}},
		"empty-cdf":  CDF{Title: "Nothing finished", X: Axis{Log: true, Unit: Seconds}, Series: []Series{Empirical("a", nil), Empirical("b", []float64{nan, inf})}, Marks: slo},
		"empty-bars": Bars{Title: "Nothing finished", Groups: []string{"a", "b"}, Series: []BarSeries{{Name: "x", Y: []float64{nan, inf}}}},
		"no-bars":    Bars{Title: "Nothing at all"},
		"no-panels":  Panels{Title: "Nothing at all"},
		"empty-pane": Panels{Title: "Partly empty", X: Axis{Unit: Seconds}, Panels: []Panel{{Title: "A", Series: []Series{{X: []float64{0, 1}, Y: []float64{nan, nan}}}}, {Title: "B", Series: []Series{{X: []float64{0, 1}, Y: []float64{3, 3}}}}}},
		"gaps":       Lines{Title: "Interrupted", Series: []Series{{Name: "gaps", X: []float64{0, 1, 2, 3, 4, 5}, Y: []float64{1, inf, 2, nan, 3, 4}}, {Name: "nothing", X: []float64{1}, Y: []float64{nan}}}},
		"lone":       Lines{Title: "One point", Y: Axis{Log: true}, Series: []Series{{Name: "lone", X: []float64{5}, Y: []float64{0.3}}}},
		"clipped":    Lines{Title: "Out of range", X: Axis{Min: 1, Max: 3}, Y: Axis{Min: 0, Max: 2}, Series: []Series{{Name: "far", X: []float64{0, 1, 2, 3, 4}, Y: []float64{-1e90, 1, 1e90, 1, 5}, Low: []float64{-3, 0, 1, 0, 1}, High: []float64{9, 3, 1e90, 4, 8}}}},
		"long":       Lines{Title: "A title that is so long that it cannot possibly fit on the one line that most titles are given, nor on the second line either, so that it has to be cut somewhere", Subtitle: "words and words and words and words and words and words and words and words and words and words and words and words and words and words and words and words and words and words and words and words and words and words and words and words and words and words and words and words and words and words", Series: []Series{{Name: "a name that nobody would give to a series unless to see what happens when it is drawn", X: []float64{1, 2}, Y: []float64{1, 2}}, {Name: "another name that nobody would give to a series unless to see what happens", X: []float64{1, 2}, Y: []float64{2, 1}}}},
	}
}

// manyLines has more lines than colours, too close together for names beside them.
func manyLines() Lines {
	l := Lines{Title: "Nine policies", Subtitle: "A legend takes over where lines are too close", X: Axis{Label: "GPUs"}, Y: Axis{Label: "goodput, requests/s"}}
	for i := range 9 {
		s := Series{Name: string(rune('A'+i)) + " policy"}
		for x := 1.0; x <= 64; x *= 2 {
			s.X, s.Y = append(s.X, x), append(s.Y, x*(2+0.05*float64(i)))
		}
		l.Series = append(l.Series, s)
	}
	return l
}

func TestPictures(t *testing.T) {
	if *pictures == "" {
		t.Skip("no -pictures folder given")
	}
	for name, chart := range samples() {
		for ext, f := range map[string]Format{".png": PNG, ".svg": SVG} {
			var b bytes.Buffer
			if err := chart.Render(&b, f); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := os.WriteFile(filepath.Join(*pictures, name+ext), b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}
