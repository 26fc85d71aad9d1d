package jobs

import (
	"context"
	"fmt"
	"testing"
	"time"

	"orrery/policies/share"
	mix "orrery/workloads/jobs"
)

// mixed is a source of the jobs of a mix.
type mixed struct{ from *mix.Source }

func (m mixed) Next() (Job, bool) {
	j, ok := m.from.Next()
	return Job{
		ID: j.ID, Name: j.Class, Arrived: j.Arrived, Deadline: j.Deadline, Widths: j.Widths, Speed: j.Speed, Samples: j.Samples,
		Work: j.Total, Restart: time.Duration(j.Restart * float64(time.Second)),
	}, ok
}

func ofMix(t testing.TB, m mix.Mix, seed uint64) Source {
	t.Helper()
	s, err := m.Source(seed)
	if err != nil {
		t.Fatal(err)
	}
	return mixed{s}
}

var three = []share.Type{{Name: "2080ti", Devices: 24, Node: 8}, {Name: "v100", Devices: 24, Node: 8}, {Name: "a100", Devices: 16, Node: 8}}

func meanJCT(out *Outcome) float64 {
	sum := 0.0
	for i := range out.Jobs {
		sum += out.Jobs[i].JCT().Hours() / float64(len(out.Jobs))
	}
	return sum
}

// The orders that are known of policies hold in the room as they do of policies alone:
// shortest remaining time first is best, least attained service within 1.5 times of it,
// and knowledge of types worth 1.2 times.
func TestKnownOrdersOfPolicies(t *testing.T) {
	jobs := mix.Mix{Rate: 4.5, Jobs: 600, Types: mix.Types, Sizes: mix.Gavel, Rigid: true}
	jct := func(p share.Policy) float64 {
		out := mustRun(t, Config{Types: three, Source: ofMix(t, jobs, 1), Policy: p, Round: 6 * time.Minute})
		if len(out.Jobs) != jobs.Jobs {
			t.Fatalf("%T: %d jobs end", p, len(out.Jobs))
		}
		return meanJCT(&out)
	}
	srtf, las, fifo := jct(&share.SRTF{}), jct(&share.LAS{}), jct(share.FIFO{Backfill: true})
	aware, blind, goodput := jct(&share.MaxMin{}), jct(&share.MaxMin{Blind: true}), jct(&share.Goodput{})
	t.Logf("mean JCT in hours: SRTF %.2f, LAS %.2f, max-min %.2f, blind %.2f, goodput %.2f, FIFO with backfill %.2f", srtf, las, aware, blind, goodput, fifo)
	if srtf > min(las, fifo, aware, blind, goodput) {
		t.Error("SRTF is not best")
	}
	if las > 1.5*srtf {
		t.Errorf("LAS takes %.2f times as long as SRTF", las/srtf)
	}
	if blind < 1.2*aware {
		t.Errorf("knowledge of types is worth %.2f times", blind/aware)
	}
}

// BenchmarkPolicies carries 100,000 jobs through 2,000 devices, some 900 at a time. In seconds of
// processor time, on a busy machine: FIFO 6, LAS 22, SRTF 30, goodput 16, max-min 58.
func BenchmarkPolicies(b *testing.B) {
	types := []share.Type{{Name: "2080ti", Devices: 800, Node: 8}, {Name: "v100", Devices: 800, Node: 8}, {Name: "a100", Devices: 400, Node: 8}}
	jobs := mix.Mix{Rate: 65, Jobs: 100_000, Types: mix.Types, Sizes: mix.Gavel, Rigid: true}
	for _, c := range []struct {
		name string
		make func() share.Policy
	}{
		{"fifo", func() share.Policy { return share.FIFO{} }},
		{"backfill", func() share.Policy { return share.FIFO{Backfill: true} }},
		{"srtf", func() share.Policy { return &share.SRTF{} }},
		{"las", func() share.Policy { return &share.LAS{} }},
		{"edf", func() share.Policy { return &share.EDF{} }},
		{"goodput", func() share.Policy { return &share.Goodput{} }},
		{"deadline", func() share.Policy { return &share.Deadline{} }},
		{"blind", func() share.Policy { return &share.MaxMin{Blind: true} }},
		{"max-min", func() share.Policy { return &share.MaxMin{} }},
	} {
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				out, err := Run(context.Background(), Config{Types: types, Source: ofMix(b, jobs, 1), Policy: c.make(), Round: time.Hour})
				if err != nil || len(out.Jobs) != jobs.Jobs {
					b.Fatal(fmt.Sprint(len(out.Jobs), " jobs end: ", err))
				}
				b.ReportMetric(meanJCT(&out), "JCT-h")
				b.ReportMetric(float64(out.Asked)/float64(jobs.Jobs), "asked/job")
			}
		})
	}
}
