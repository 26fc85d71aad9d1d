// Package scale decides how many replicas of a group there should be. Read [Policy] and
// [View] first, then [Target], which is what Kubernetes does.
package scale

import (
	"math"
	"time"

	"orrery/sim"
)

// View is what a policy may know of a group.
type View struct {
	Now         sim.Time
	Up          int // replicas that serve
	Starting    int // replicas that load their model
	Draining    int // replicas that end what they have begun
	Least, Most int // bounds of Up and Starting; what a policy wants beyond is cut
	Waiting     int // requests at the gateway and in the queues of the group
	Running     int // requests that its replicas have admitted
	KVShare     float64
	// Arrived counts the requests that have arrived at the gateway since the run began.
	Arrived int64
}

// Policy decides how many replicas there should be, serving and starting. It is asked at
// equal intervals and may keep state between them; one value serves one group.
type Policy interface {
	Scale(v *View) int
}

// Reactive adds Step replicas when more than High requests wait for each that serves, or
// more than HighKV of the KV memory is held, and takes one away when the replicas left
// would have fewer than Low requests each.
type Reactive struct {
	High   float64 // requests waiting for each replica
	HighKV float64 // share of KV memory, 0 for no such bound
	Low    float64 // requests waiting and running on each replica
	Step   int
}

// Scale implements [Policy].
func (p *Reactive) Scale(v *View) int {
	n := v.Up + v.Starting
	up := float64(max(v.Up, 1))
	switch {
	case float64(v.Waiting) > p.High*up || p.HighKV > 0 && v.KVShare > p.HighKV:
		if v.Starting > 0 {
			return n // what has been asked for has not come yet
		}
		return n + p.Step
	case n > 1 && v.Starting == 0 && float64(v.Waiting+v.Running) < p.Low*float64(n-1):
		return n - 1
	}
	return n
}

// Target keeps the number of requests of each replica, or the share of KV memory held,
// near a target: the rule of the horizontal autoscaler of Kubernetes, wanted =
// ceil(replicas * figure / target), with nothing done within Tolerance of the target, and
// of the numbers wanted during the last Hold the largest.
type Target struct {
	Requests  float64 // waiting and running on each replica; 0 for no such target
	KV        float64 // share of KV memory; 0 for no such target
	Tolerance float64 // 0.1 in Kubernetes
	Hold      time.Duration

	steady steady
}

// steady remembers what was wanted, so that a group does not shrink for a moment: what
// stops has to be started anew, which takes long.
type steady struct{ wanted []wish }

// wish is what was wanted at a time.
type wish struct {
	at sim.Time
	n  int
}

// most returns the most of what has been wanted during the last hold and is wanted now.
func (s *steady) most(now sim.Time, want int, hold time.Duration) int {
	for len(s.wanted) > 0 && s.wanted[0].at.Add(hold) < now {
		s.wanted = s.wanted[1:]
	}
	s.wanted = append(s.wanted, wish{now, want})
	for _, w := range s.wanted {
		want = max(want, w.n)
	}
	return want
}

// Scale implements [Policy].
func (p *Target) Scale(v *View) int {
	n := max(v.Up+v.Starting, 1)
	want := 0
	ask := func(figure, target float64) {
		if target <= 0 {
			return
		}
		ratio := figure / target
		if math.Abs(ratio-1) <= p.Tolerance {
			want = max(want, n)
			return
		}
		want = max(want, int(math.Ceil(float64(n)*ratio-1e-9)))
	}
	ask(float64(v.Waiting+v.Running)/float64(n), p.Requests)
	// Replicas that start hold nothing yet, so that the share is that of those that serve.
	ask(v.KVShare*float64(max(v.Up, 1))/float64(n), p.KV)
	return p.steady.most(v.Now, want, p.Hold)
}

// Predictive foresees the rate of arrivals by its level and trend (Holt's double
// exponential smoothing), as far ahead as a start takes, and has a replica for every
// PerReplica requests per second of it.
type Predictive struct {
	PerReplica float64       // requests per second that one replica bears
	Ahead      time.Duration // how far it looks
	Smooth     float64       // weight of the newest rate in the level, above 0 to 1
	Trend      float64       // weight of the newest change in the trend, 0 to 1
	Hold       time.Duration // it wants the most of what it has foreseen for so long

	steady       steady
	at           sim.Time
	arrived      int64
	level, slope float64
	seen         int
}

// Scale implements [Policy].
func (p *Predictive) Scale(v *View) int {
	if span := v.Now.Sub(p.at).Seconds(); span > 0 {
		rate := float64(v.Arrived-p.arrived) / span
		p.learn(rate, span)
		p.at, p.arrived = v.Now, v.Arrived
	}
	if p.seen == 0 {
		return v.Up + v.Starting
	}
	rate := p.level + p.slope*p.Ahead.Seconds()
	return p.steady.most(v.Now, int(math.Ceil(rate/p.PerReplica-1e-9)), p.Hold)
}

// learn takes in the rate of the last span of seconds.
func (p *Predictive) learn(rate, span float64) {
	p.seen++
	if p.seen == 1 {
		p.level = rate
		return
	}
	before := p.level
	p.level = p.Smooth*rate + (1-p.Smooth)*(p.level+p.slope*span)
	p.slope = p.Trend*(p.level-before)/span + (1-p.Trend)*p.slope
}

// Never wants what there is: replicas come and go by faults alone.
type Never struct{}

// Scale implements [Policy].
func (Never) Scale(v *View) int { return v.Up + v.Starting }
