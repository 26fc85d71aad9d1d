package cluster

import (
	"errors"
	"fmt"
	"time"

	"orrery/policies/scale"
	"orrery/sim"
)

// Scaler lets a policy decide how many replicas of a group there are.
type Scaler struct {
	Group       int32
	Policy      scale.Policy
	Every       time.Duration // between two decisions, above 0
	Least, Most int           // of the replicas that serve and start
}

func (s *Scaler) check(replicas []ReplicaConfig) error {
	n := 0
	for i := range replicas {
		if replicas[i].Group == s.Group {
			n++
		}
	}
	switch {
	case s.Policy == nil:
		return errors.New("needs a policy")
	case s.Every <= 0:
		return fmt.Errorf("decides every %v; want more than 0", s.Every)
	case s.Least < 0 || s.Most < max(s.Least, 1) || s.Most > n:
		return fmt.Errorf("keeps %d to %d replicas of %d; want a range within that allows one", s.Least, s.Most, n)
	}
	return nil
}

// onScale asks the policy of a scaler how many replicas there should be, and starts or
// drains some.
func (c *Cluster) onScale(now sim.Time, i uint32) {
	if c.done() {
		return
	}
	s := &c.cfg.Scalers[i]
	c.engine.At(now.Add(s.Every), c.scale, i)
	v := c.scaleView(now, s)
	have := v.Up + v.Starting
	want := min(max(s.Policy.Scale(&v), s.Least), s.Most)
	if want == 0 && v.Waiting > 0 {
		want = 1 // or they would wait forever
	}
	for ; have < want && c.grow(now, s.Group); have++ {
	}
	for ; have > want && c.shrink(now, s.Group); have-- {
	}
}

// scaleView gathers what a policy may know of a group.
func (c *Cluster) scaleView(now sim.Time, s *Scaler) scale.View {
	v := scale.View{Now: now, Least: s.Least, Most: s.Most, Waiting: len(c.gateway), Arrived: c.out.Arrived}
	used, capacity := int64(0), int64(0)
	for i := range c.replicas {
		r := &c.replicas[i]
		if c.cfg.Replicas[i].Group != s.Group {
			continue
		}
		switch r.state {
		case Up:
			v.Up++
		case Starting:
			v.Starting++
		case Draining:
			v.Draining++
		}
		v.Waiting += r.queue.n + r.parked() + r.swapped.n
		v.Running += r.held.n
		if r.state == Up {
			used += r.usedAt(now)
			capacity += r.mem.ledger.Capacity()
		}
	}
	if capacity > 0 {
		v.KVShare = float64(used) / float64(capacity)
	}
	return v
}

// usedAt returns the KV blocks that a replica holds at now, in the middle of a stretch
// too.
func (r *replica) usedAt(now sim.Time) int64 {
	used := r.mem.ledger.Used()
	if r.flying != 1 || len(r.flights) > 1 {
		return used
	}
	m := &r.flights[r.first]
	for i := 1; i < len(m.steps) && m.steps[i-1].end < now; i++ {
		used += r.wanted(m.group, m.group.count+int64(i)-1)
	}
	return used
}

// grow starts one more replica of a group, and reports false if there is none.
func (c *Cluster) grow(now sim.Time, group int32) bool {
	for i := range c.replicas {
		if r := &c.replicas[i]; r.state == Off && c.cfg.Replicas[i].Group == group {
			c.start(now, r)
			return true
		}
	}
	return false
}

// shrink stops one replica of a group: one that still starts, else the one with the
// fewest requests; the last one among equals.
func (c *Cluster) shrink(now sim.Time, group int32) bool {
	var best *replica
	for i := range c.replicas {
		r := &c.replicas[i]
		if c.cfg.Replicas[i].Group != group || r.state != Up && r.state != Starting {
			continue
		}
		if best == nil || r.state == Starting && best.state == Up || r.state == best.state && r.requests() <= best.requests() {
			best = r
		}
	}
	if best == nil {
		return false
	}
	c.drain(now, best)
	return true
}

// requests returns the number of requests on a replica.
func (r *replica) requests() int { return r.queue.n + r.parked() + r.held.n + r.swapped.n }
