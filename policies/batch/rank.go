package batch

import (
	"fmt"
	"time"

	"orrery/sim"
)

// Priority lets requests of a higher priority go first; equal ones go in the order of
// arrival. With Aging none waits for ever: a request that has waited Aging longer goes
// before one of a priority that is one higher. (This is the delay-dependent discipline of
// Kleinrock, Queueing Systems II, 3.7, with equal slopes, so places never change while
// requests wait.)
type Priority struct {
	Aging time.Duration // 0 for priority above all
}

// Key implements [Ranking].
func (p Priority) Key(s *Seq) Key {
	if p.Aging == 0 {
		return Key{Class: -int64(s.Priority), Rank: int64(s.Arrived)}
	}
	return Key{Rank: int64(s.Arrived) - int64(s.Priority)*int64(p.Aging)}
}

// Check returns an error unless the order can be kept.
func (p Priority) Check() error {
	if p.Aging < 0 || p.Aging > 1000*time.Hour {
		return fmt.Errorf("aging is %v; want 0, for priority above all, to 1000h", p.Aging)
	}
	return nil
}

// EDF lets the earliest deadline of a first token go first (Jackson, 1955); requests
// without one go last, in the order of arrival. A deadline that has passed still counts.
type EDF struct{}

// Key implements [Ranking].
func (EDF) Key(s *Seq) Key {
	if s.Deadline == sim.Forever {
		return Key{Class: 1, Rank: int64(s.Arrived)}
	}
	return Key{Rank: int64(s.Deadline)}
}

// ShortestJob lets the request with the least work go first, in tokens: its prompt, and
// its answer as predicted when it was routed. Those with tokens emitted have less to go.
// Long requests may wait for ever where the load is high.
type ShortestJob struct {
	PromptOnly bool // the answer does not count
}

// Key implements [Ranking].
func (j ShortestJob) Key(s *Seq) Key {
	work := int64(s.Prompt)
	if !j.PromptOnly {
		work += max(int64(s.Predicted)-int64(s.Generated), 0)
	}
	return Key{Rank: work}
}
