package share

import (
	"testing"
	"time"

	"orrery/workloads/jobs"
)

// The clusters of the tests on orders: one of V100s alone, and one of three types.
var (
	uniform = []Type{{Name: "v100", Devices: 64, Node: 8}}
	mixed   = []Type{{Name: "2080ti", Devices: 24, Node: 8}, {Name: "v100", Devices: 24, Node: 8}, {Name: "a100", Devices: 16, Node: 8}}
)

// gangs have one width, and sizes as Gavel draws them; elastic jobs have sizes as in Sia's
// traces. Both come fast enough that FIFO has a queue.
func gangs(types ...string) jobs.Mix {
	return jobs.Mix{Rate: 4.5, Jobs: 600, Types: types, Sizes: jobs.Gavel, Rigid: true, Deadlines: 0.5}
}

func elastic(types ...string) jobs.Mix {
	return jobs.Mix{Rate: 8, Jobs: 600, Types: types, Sizes: jobs.Philly, Deadlines: 0.5}
}

// means returns the mean JCT of a policy on a mix over a few seeds, in seconds.
func means(t *testing.T, make func() Policy, types []Type, mix jobs.Mix) float64 {
	sum := 0.0
	for seed := range uint64(2) {
		b := bench{types: types, round: 6 * time.Minute}
		o := b.run(t, make(), draw(t, mix, seed+1))
		sum += o.mean() / 2
	}
	return sum
}

// Where sizes are known, shortest remaining time first has the best mean JCT; LAS, which
// does not know them, stays within 1.5 times of it; FIFO is far behind both.
func TestShortestRemainingTimeHasTheBestMeanJCT(t *testing.T) {
	for name, c := range map[string]struct {
		types []Type
		mix   jobs.Mix
	}{
		"gangs":         {uniform, gangs("v100")},
		"elastic":       {uniform, elastic("v100")},
		"mixed gangs":   {mixed, gangs(jobs.Types...)},
		"mixed elastic": {mixed, elastic(jobs.Types...)},
	} {
		srtf := means(t, func() Policy { return &SRTF{} }, c.types, c.mix)
		las := means(t, func() Policy { return &LAS{} }, c.types, c.mix)
		fifo := means(t, func() Policy { return FIFO{} }, c.types, c.mix)
		backfill := means(t, func() Policy { return FIFO{Backfill: true} }, c.types, c.mix)
		goodput := means(t, func() Policy { return &Goodput{} }, c.types, c.mix)
		maxmin := means(t, func() Policy { return &MaxMin{} }, c.types, c.mix)
		t.Logf("%-14s mean JCT in hours: SRTF %.2f, LAS %.2f (%.2f x), goodput %.2f, max-min %.2f, FIFO with backfill %.2f, FIFO %.2f",
			name, srtf/3600, las/3600, las/srtf, goodput/3600, maxmin/3600, backfill/3600, fifo/3600)
		if srtf > min(las, fifo, backfill, goodput, maxmin) {
			t.Errorf("%s: SRTF is not best", name)
		}
		if las > 1.5*srtf {
			t.Errorf("%s: LAS takes %.2f times as long as SRTF, want at most 1.5", name, las/srtf)
		}
		if fifo < 2*srtf {
			t.Errorf("%s: FIFO takes %.2f times as long as SRTF; there is no queue to speak of", name, fifo/srtf)
		}
	}
}

// Totals hidden, LAS does exactly what it does with them.
func TestLASKnowsNoSizes(t *testing.T) {
	list := draw(t, gangs("v100"), 1)
	known := bench{types: uniform}
	hidden := bench{types: uniform, hide: true}
	if a, b := known.run(t, &LAS{}, list), hidden.run(t, &LAS{}, list); a.mean() != b.mean() {
		t.Errorf("mean JCT %v with sizes, %v without", a.mean(), b.mean())
	}
}

func TestKnowledgeOfTypesPays(t *testing.T) {
	aware := means(t, func() Policy { return &MaxMin{} }, mixed, gangs(jobs.Types...))
	blind := means(t, func() Policy { return &MaxMin{Blind: true} }, mixed, gangs(jobs.Types...))
	t.Logf("max-min %.2f h, blind %.2f h: %.2f times", aware/3600, blind/3600, blind/aware)
	if blind < 1.2*aware {
		t.Errorf("heterogeneity-aware max-min has %.2f times the mean JCT of blind max-min, want 1.2 times better", aware/blind)
	}
	// Where there is one type there is nothing to know.
	aware = means(t, func() Policy { return &MaxMin{} }, uniform, gangs("v100"))
	blind = means(t, func() Policy { return &MaxMin{Blind: true} }, uniform, gangs("v100"))
	if r := blind / aware; r < 0.95 || r > 1.05 {
		t.Errorf("on one type blind max-min has %.3f times the mean JCT of the aware one, want the same", r)
	}
}

// Against earliest deadline first, looking at slack and cost meets no fewer deadlines for
// fewer device-hours: far fewer where jobs choose their width, and where more is asked than
// can be done, by refusing what is hopeless. Gangs that all can be served leave no choice
// but the type, and cost the same.
func TestDeadlinesAtLeastCost(t *testing.T) {
	for name, c := range map[string]struct {
		mix   jobs.Mix
		saved float64 // part of EDF's device-hours, at least
	}{
		"elastic": {elastic(jobs.Types...), 0.3},
		"gangs":   {deadlines(3), -0.005},
		"crowded": {deadlines(9), 0.005},
		"flooded": {deadlines(60), 0.04},
	} {
		for seed := range uint64(3) {
			b := bench{types: mixed, leave: true}
			list := draw(t, c.mix, seed+1)
			edf, d := b.run(t, &EDF{}, list), b.run(t, &Deadline{Refuse: true}, list)
			t.Logf("%s, seed %d: EDF meets %d of %d for %.0f device-hours, deadline-aware %d for %.0f", name, seed+1, edf.met, edf.deadlines, edf.hours, d.met, d.hours)
			if d.met < edf.met {
				t.Errorf("%s, seed %d: %d deadlines met, EDF meets %d", name, seed+1, d.met, edf.met)
			}
			if d.hours > (1-c.saved)*edf.hours {
				t.Errorf("%s, seed %d: %.0f device-hours, EDF takes %.0f; want %.1f %% fewer", name, seed+1, d.hours, edf.hours, 100*c.saved)
			}
		}
	}
}

// deadlines is a mix of gangs, all with deadlines.
func deadlines(rate float64) jobs.Mix {
	m := gangs(jobs.Types...)
	m.Rate, m.Deadlines, m.Jobs = rate, 1, 400
	return m
}
