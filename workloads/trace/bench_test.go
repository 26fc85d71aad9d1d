package trace

import (
	"testing"

	"orrery/workloads"
)

func open(t testing.TB, c Traffic) workloads.Source {
	t.Helper()
	src, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// normal512 is the traffic that the speed targets are stated for.
var normal512 = Joint{Prompt: Normal{512, 256}, Output: Normal{512, 256}}

func BenchmarkSynthetic(b *testing.B) {
	for _, c := range []struct {
		name string
		Synthetic
	}{
		{"poisson-normal", Synthetic{Arrivals: Poisson{Rate: 10}, Lengths: normal512}},
		{"poisson-table", Synthetic{Arrivals: Poisson{Rate: 10}, Lengths: Table{"chat"}}},
		{"poisson-table-shared", Synthetic{Arrivals: Poisson{Rate: 10}, Lengths: Table{"chat"}, Shared: SharedPrefix{Groups: 100, Tokens: 1000, Zipf: 1}}},
		{"poisson-lognormal-capped", Synthetic{Arrivals: Poisson{Rate: 10}, Lengths: Capped{Joint{Prompt: LogNormal{500, 1}, Output: LogNormal{200, 1}}, 8192}}},
		{"gamma-table", Synthetic{Arrivals: Gamma{Rate: 10, CV: 2}, Lengths: Table{"chat"}}},
		{"weibull-table", Synthetic{Arrivals: Weibull{Rate: 10, Shape: 0.7}, Lengths: Table{"chat"}}},
		{"piecewise-table", Synthetic{Arrivals: Piecewise{Segments: []Segment{{60, 5}, {60, 15}}, Cycle: true}, Lengths: Table{"chat"}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			src := open(b, c.Synthetic)
			b.ReportAllocs()
			for b.Loop() {
				src.Peek()
				src.Next()
			}
		})
	}
}

func BenchmarkOpenTable(b *testing.B) {
	for b.Loop() {
		open(b, Synthetic{Arrivals: Poisson{Rate: 10}, Lengths: Table{"chat"}})
	}
}

// BenchmarkReplay reports the cost of a request of a whole replay, the check
// included.
func BenchmarkReplay(b *testing.B) {
	for _, name := range []string{"azure_llm_2023_conv_0000_2400s.csv.gz", "mooncake_conversation_0000_2400s.csv.gz"} {
		b.Run(name, func(b *testing.B) {
			path := dataFile(b, name)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				src := open(b, Replay{Path: path})
				for _, ok := src.Peek(); ok; _, ok = src.Peek() {
					src.Next()
					n++
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/request")
		})
	}
}

// BenchmarkSessions reports the cost of a turn when each is answered at once.
func BenchmarkSessions(b *testing.B) {
	src := open(b, Sessions{Arrivals: Poisson{Rate: 1}, Turns: Geometric{5}, Lengths: Joint{Prompt: LogNormal{100, 1}, Output: LogNormal{200, 1}},
		Think: Think{Mean: 10, CV: 1}, System: SharedPrefix{Groups: 10, Tokens: 1000}}).(workloads.Responder)
	b.ReportAllocs()
	for b.Loop() {
		r := src.Next()
		src.Done(&r, r.Arrived)
	}
}
