package cmd

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"testing"

	"orrery/scenarios"
)

// planOf answers the question of a scenario.
func planOf(t *testing.T, s *scenarios.Scenario, seeds []uint64) (*planAnswer, *planner) {
	t.Helper()
	a0 := &app{out: io.Discard, err: io.Discard}
	runs, err := a0.newPlanRuns(t.Context(), &planFlags{engineFlags: engineFlags{engine: engineLocal}}, "test")
	if err != nil {
		t.Fatal(err)
	}
	p := &planner{app: a0, scenario: s, options: s.PlanOptions(), seeds: seeds, runs: runs}
	a := &planAnswer{RatePerS: s.Rate() * s.Plan.Growth, question: question{Seeds: seeds}}
	if err := p.search(context.Background(), a); err != nil {
		t.Fatal(err)
	}
	return a, p
}

// Trying every fleet of a small question finds the same one.
func TestPlanIsThatOfBruteForce(t *testing.T) {
	s, err := scenarios.Load("plan-language", "traffic.requests=400", "plan.growth=0.6", "plan.candidate.L40S.most=5", "plan.candidate.L40S.tensor=[1]",
		"plan.candidate.A30.most=6", "plan.candidate.A100.most=3", "plan.candidate.A100.tensor=[1]", "plan.candidate.H100.most=2")
	if err != nil {
		t.Fatal(err)
	}
	seeds := []uint64{1, 2}
	found, p := planOf(t, s, seeds)
	best, runs := math.Inf(1), 0
	for i, o := range p.options {
		for n := 1; n <= o.Most; n++ {
			tried, err := p.try(context.Background(), i, n, 1, seeds, &planAnswer{})
			if err != nil {
				t.Fatal(err)
			}
			met := true
			for _, r := range tried {
				runs++
				met = met && r.Met
			}
			if met {
				best = min(best, float64(n)*o.PerHour)
			}
		}
	}
	if math.IsInf(best, 1) || len(found.Best) == 0 || found.Best[0].PerHour != best {
		t.Fatalf("brute force finds %v, the search %+v", best, found.Best)
	}
	if found.All != runs || found.Runs > runs/2 {
		t.Errorf("%d runs, brute force %d, called %d", found.Runs, runs, found.All)
	}
}

// A bound in closed form must not rule out a fleet that keeps up.
func TestLeastReplicasIsABound(t *testing.T) {
	s, err := scenarios.Load("plan-language", "traffic.requests=1500")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range s.PlanOptions() {
		if o.Refused != "" {
			continue
		}
		one, err := s.PlanFleet(o, 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		least, err := one.LeastReplicas(1)
		if err != nil {
			t.Fatal(err)
		}
		if least < 1 {
			continue
		}
		short, err := s.PlanFleet(o, max(least-1, 1), 1)
		if err != nil {
			t.Fatal(err)
		}
		r, _, err := scenarios.Run(context.Background(), short, 1, scenarios.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if least > 1 && r.SLO.Met && !r.Load.Growing {
			t.Errorf("%s: %d replicas keep up, the bound says %d", o.Name, least-1, least)
		}
	}
}

// The answer to the shipped question, which -update writes into docs/planning.md.
func TestPlanOfTheShippedCase(t *testing.T) {
	if testing.Short() {
		t.Skip("runs many simulations")
	}
	s, err := scenarios.Load("plan-language")
	if err != nil {
		t.Fatal(err)
	}
	a, _ := planOf(t, s, []uint64{1, 2, 3})
	if len(a.Best) == 0 || a.Runs*4 > a.All || len(a.Checks) != 5 {
		t.Fatalf("%d fleets by %d runs of %d, %d checks", len(a.Best), a.Runs, a.All, len(a.Checks))
	}
	if !a.Checks[0].Met {
		t.Errorf("the cheapest fleet misses with other seeds: %+v", a.Checks[0])
	}
	if !*update {
		return
	}
	const file, mark, end = "../docs/planning.md", "<!-- plan: go test ./cmd -run PlanOfTheShipped -update -->\n", "<!-- end -->"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(data), mark)
	_, tail, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for the answer", file)
	}
	text := head + mark + fmt.Sprintf("```text\n%s```\n", a.text(s)) + end + tail
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
