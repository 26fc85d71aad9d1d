package cluster

import (
	"fmt"
	"strings"

	"orrery/policies/batch"
)

// script is a policy that takes the given steps, one a plan, and from then on admits
// whole prompts, decodes all and swaps in what fits.
type script struct {
	limits batch.Limits
	steps  []func(p batch.Plan)
}

func (s *script) Limits(int) batch.Limits {
	s.limits.MaxSeqs, s.limits.MaxTokens = 64, 1<<20
	return s.limits
}

func (s *script) Plan(p batch.Plan) {
	if len(s.steps) > 0 {
		step := s.steps[0]
		s.steps = s.steps[1:]
		step(p)
		return
	}
	p.DecodeAll()
	for p.SwapIn() {
	}
	admitAll(p)
	p.Steady()
}

func admitAll(p batch.Plan) {
	for h := p.Head(); h != nil && p.Admit(h.Left()); h = p.Head() {
	}
}

// story tells a log in short: "A@0" is scheduled at 0 s, "-A@2" pre-empted, "~A@2"
// swapped out, "!A@2" refused, and "+A@5" has finished.
func (w *watcher) story() string {
	var b strings.Builder
	for _, r := range w.records {
		sign := ""
		switch r.What {
		case Scheduled:
		case Rejected:
			sign = "!"
		case Finished:
			sign = "+"
		case Preempted:
			sign = "-"
			if r.Swap {
				sign = "~"
			}
		default:
			continue
		}
		fmt.Fprintf(&b, " %s%s@%v", sign, name(r.Request.ID), r.At.Seconds())
	}
	return strings.TrimPrefix(b.String(), " ")
}

// byID returns what became of the finished requests, by their number.
func (w *watcher) byID() map[int64]Served {
	m := make(map[int64]Served, len(w.served))
	for _, s := range w.served {
		m[s.ID] = s
	}
	return m
}
