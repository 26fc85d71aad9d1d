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
			settings, row = append(settings, v.Label), append(row, held(t, v.Scenario, seeds))
		}
		rates = append(rates, row)
	}
	return settings, rates
}

// held returns the highest rate that a scenario holds.
func held(t *testing.T, s *scenarios.Scenario, seeds []uint64) float64 {
	t.Helper()
	a, err := plan.FindCapacity(context.Background(), newRates(s).probe, plan.Search{
		Seeds: seeds, Rule: plan.MetAndSteady, Tolerance: 0.05, Start: startOf(s),
	})
	if err != nil {
		t.Fatal(err)
	}
	return float64(a.PerS)
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
		writeDisagg(t, "capacity", capacityTable(settings, rates))
	}
}

func capacityTable(settings []string, rates [][]float64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| requests per second | %s |\n|---|%s\n", strings.Join(settings, " | "), strings.Repeat("--:|", len(settings)))
	for i, c := range disaggCases {
		fmt.Fprintf(&b, "| %s |", c.name)
		for _, rate := range rates[i] {
			fmt.Fprintf(&b, " %.1f |", rate)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// writeDisagg rewrites a section of the page.
func writeDisagg(t *testing.T, section, text string) {
	t.Helper()
	const file, end = "../docs/disaggregation.md", "<!-- end -->"
	mark := fmt.Sprintf("<!-- %s: go test ./cmd -run Disaggregation -update -->\n", section)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(data), mark)
	_, tail, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for the answer", file)
	}
	if err := os.WriteFile(file, []byte(head+mark+"\n"+text+"\n"+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

// crossing is the best of all ways to serve prompts of a median of 3,000 tokens on some
// GPUs, apart and together.
type crossing struct {
	gpus, answer    int
	split           string // of the best way apart
	apart, together float64
}

// findCrossing tries the splits, as "prompts and answers", and chunks of two sizes.
func findCrossing(t *testing.T, gpus, answer int, splits [][2]int, seeds []uint64) crossing {
	t.Helper()
	var variants []string
	for _, k := range splits {
		variants = append(variants, fmt.Sprintf(`{label="%d and %d",set={group={prompts={replicas=%d},answers={replicas=%d}}}}`, k[0], k[1], k[0], k[1]))
	}
	for _, budget := range []int{512, 2048} {
		variants = append(variants, fmt.Sprintf(`{label="together, chunks of %d",set={network={gbps=0.0},group=[{name="all",replicas=%d,policy={budget=%d}}]}}`, budget, gpus, budget))
	}
	s, err := scenarios.Load("disagg", fmt.Sprintf("traffic.output_median=%d.0", answer), fmt.Sprintf("traffic.rate=%d.0", gpus),
		"traffic.requests=2000", "compare.variant=["+strings.Join(variants, ",")+"]")
	if err != nil {
		t.Fatal(err)
	}
	c := crossing{gpus: gpus, answer: answer}
	for _, v := range s.Variants() {
		rate := held(t, v.Scenario, seeds)
		switch {
		case strings.HasPrefix(v.Label, "together"):
			c.together = max(c.together, rate)
		case rate > c.apart:
			c.apart, c.split = rate, v.Label
		}
	}
	return c
}

// The longer the answers, the less is won by serving prompts apart; with few GPUs, which
// cannot be split as the work is, that turns into a loss.
func TestDisaggregationCrosses(t *testing.T) {
	if testing.Short() {
		t.Skip("runs hundreds of simulations")
	}
	pair := [][2]int{{1, 1}}
	if !*update {
		short, long := findCrossing(t, 2, 150, pair, []uint64{1}), findCrossing(t, 2, 1200, pair, []uint64{1})
		if short.apart < short.together || long.apart > long.together {
			t.Errorf("on two GPUs %+v and %+v; want more apart with short answers, less with long ones", short, long)
		}
		return
	}
	eight := [][2]int{{6, 2}, {5, 3}, {4, 4}, {3, 5}, {2, 6}}
	var b strings.Builder
	b.WriteString("| median answer | 1 and 1 | 2 together | gain | best of 8 apart | 8 together | gain |\n|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, answer := range []int{40, 150, 300, 600, 1200} {
		few, many := findCrossing(t, 2, answer, pair, []uint64{1, 2, 3}), findCrossing(t, 8, answer, eight, []uint64{1, 2, 3})
		fmt.Fprintf(&b, "| %d | %.2f | %.2f | %+.0f %% | %.1f (%s) | %.1f | %+.0f %% |\n", answer, few.apart, few.together,
			100*(few.apart/few.together-1), many.apart, many.split, many.together, 100*(many.apart/many.together-1))
	}
	writeDisagg(t, "crossing", b.String())
}
