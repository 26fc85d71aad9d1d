package cmd

import (
	"context"
	"flag"
	"os"
	"strings"
	"testing"

	"orrery/plan"
	"orrery/scenarios"
)

var update = flag.Bool("update", false, "write the answer into docs/what-if.md rather than compare it")

// whatIf asks for the cheapest fleet of each setting of the shipped question.
func whatIf(t *testing.T) *fleetAnswer {
	t.Helper()
	s, err := scenarios.Load("fleet")
	if err != nil {
		t.Fatal(err)
	}
	a := &fleetAnswer{}
	for _, v := range s.Variants() {
		found, err := plan.CheapestFleet(context.Background(), fleetPools(v.Scenario), func(ctx context.Context, counts []int) (plan.FleetOutcome, error) {
			return tryFleet(ctx, v.Scenario, counts, []uint64{1, 2, 3})
		})
		if err != nil {
			t.Fatal(err)
		}
		a.Fleets = append(a.Fleets, fleetOf{v.Label, found})
	}
	return a
}

// What docs/what-if.md concludes: which fleets are cheapest, and by how much. Prices of
// operators that a new fit moves a little may move its tables, which -update writes anew.
func TestWhatIf(t *testing.T) {
	if testing.Short() {
		t.Skip("runs hundreds of simulations")
	}
	a := whatIf(t)
	cheapest := map[string]float64{}
	for _, f := range a.Fleets {
		if len(f.Meeting) == 0 {
			t.Fatalf("%s: no fleet meets the objective", f.Setting)
		}
		cheapest[f.Setting] = f.Meeting[0].PerHour
	}
	plain, decoded, streamlined := cheapest["as pipelines come"], cheapest["frames decoded one at a time"], cheapest["streamlined"]
	if !(plain > decoded && decoded > streamlined) {
		t.Errorf("the cheapest fleets cost %v; want less with frames decoded one at a time, and less again streamlined", cheapest)
	}
	if few := cheapest["streamlined, few steps"]; few > streamlined {
		t.Errorf("with few steps the cheapest fleet costs %g, more than %g", few, streamlined)
	}
	if *update {
		writeWhatIf(t, a)
	}
}

func writeWhatIf(t *testing.T, a *fleetAnswer) {
	t.Helper()
	const file, mark, end = "../docs/what-if.md", "<!-- fleet: go test ./cmd -run WhatIf -update -->\n", "<!-- end -->"
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
	for _, f := range a.Fleets {
		b.WriteString("\n" + f.Setting + "\n" + f.Text())
	}
	text := head + mark + "```text" + b.String() + "```\n" + end + tail
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
