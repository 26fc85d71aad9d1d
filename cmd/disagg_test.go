package cmd

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"orrery/plan"
	"orrery/scenarios"
)

// disaggCases are the questions of docs/disaggregation.md: traffic and an objective.
var disaggCases = []struct {
	name string
	sets []string
}{
	{"long prompts, TPOT 25 ms", nil},
	{"long prompts, TPOT 60 ms", []string{"slo.tpot=60ms"}},
	{"chats, TPOT 25 ms", []string{"traffic.prompt_median=300.0", "traffic.output_median=600.0", "traffic.rate=20.0"}},
	{"chats, TPOT 60 ms", []string{"traffic.prompt_median=300.0", "traffic.output_median=600.0", "traffic.rate=20.0", "slo.tpot=60ms"}},
	{"long prompts, TPOT 25 ms, 10 Gbit/s", []string{"network.gbps=10.0"}},
}

// disagg returns the capacity of each setting of scenario disagg for each case.
func disagg(t *testing.T, seeds []uint64) (settings []string, rates [][]float64) {
	t.Helper()
	for _, c := range disaggCases {
		s, err := scenarios.Load("disagg", c.sets...)
		if err != nil {
			t.Fatal(err)
		}
		var row []float64
		settings = settings[:0]
		for _, v := range s.Variants() {
			a, err := plan.FindCapacity(context.Background(), newRates(v.Scenario).probe, plan.Search{
				Seeds: seeds, Rule: plan.MetAndSteady, Tolerance: 0.05, Start: startOf(v.Scenario),
			})
			if err != nil {
				t.Fatal(err)
			}
			settings, row = append(settings, v.Label), append(row, float64(a.PerS))
		}
		rates = append(rates, row)
	}
	return settings, rates
}

// The directions of Splitwise (Patel et al., ISCA 2024) and DistServe (Zhong et al., OSDI
// 2024): apart wins where prompts are long and the bound on the time per token is tight,
// and loses where answers are most of the work.
func TestDisaggregationWinsAndLoses(t *testing.T) {
	if testing.Short() {
		t.Skip("runs hundreds of simulations")
	}
	seeds := []uint64{1}
	if *update {
		seeds = []uint64{1, 2, 3, 4, 5}
	}
	settings, rates := disagg(t, seeds)
	best := func(row []float64) (apart, together float64) { return max(row[0], row[1]), max(row[2], row[3]) }
	apart, together := best(rates[0])
	if apart < 1.3*together {
		t.Errorf("long prompts, tight: %.1f requests/s apart, %.1f together; want much more apart", apart, together)
	}
	loose, looseTogether := best(rates[1])
	if loose/looseTogether > apart/together {
		t.Errorf("long prompts: apart wins by %.2f under a loose bound, by %.2f under a tight one", loose/looseTogether, apart/together)
	}
	if apart, together = best(rates[2]); apart > 0.8*together {
		t.Errorf("chats: %.1f requests/s apart, %.1f together; want far fewer apart", apart, together)
	}
	if *update {
		writeDisagg(t, settings, rates)
	}
}

func writeDisagg(t *testing.T, settings []string, rates [][]float64) {
	t.Helper()
	const file, mark, end = "../docs/disaggregation.md", "<!-- capacity: go test ./cmd -run Disaggregation -update -->\n", "<!-- end -->"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(data), mark)
	_, tail, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for the answer", file)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n| requests per second | %s |\n|---|%s\n", strings.Join(settings, " | "), strings.Repeat("--:|", len(settings)))
	for i, c := range disaggCases {
		fmt.Fprintf(&b, "| %s |", c.name)
		for _, rate := range rates[i] {
			fmt.Fprintf(&b, " %.1f |", rate)
		}
		b.WriteByte('\n')
	}
	if err := os.WriteFile(file, []byte(head+mark+b.String()+"\n"+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
