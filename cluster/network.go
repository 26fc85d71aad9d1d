package cluster

import (
	"fmt"
	"math"
	"slices"
	"time"

	"orrery/sim"
)

// Node is a machine with devices, and its ways to others. Bandwidths are bytes per second
// in each direction.
type Node struct {
	Out, In float64       // of its network interfaces together
	Latency time.Duration // of its part of a way to another node
	// Inside is between devices of the node, and InsideLatency of that way.
	Inside        float64
	InsideLatency time.Duration
}

// network moves bytes between nodes as flows that share links. At any time the rates of
// the flows are max-min fair (Bertsekas and Gallager, Data Networks, section 6.5.2): no flow
// could have more without another that has no more than it having less. That is what
// TCP or credit-based flow control comes to when all round trips are alike, and it
// has no packets.
type network struct {
	engine *sim.Engine
	links  []link
	flows  []netFlow // active ones in order of their starts
	used   []int32   // scratch: links that flows are on
	next   int32     // number of the next flow
	at     sim.Time
	pass   sim.Action // something has been sent
	done   func(now sim.Time, flow int32)
	wakeAt sim.Time // when the engine will wake the network
}

// link is one direction of a way.
type link struct {
	rate  float64 // bytes per second; 0 while it is lost
	whole float64 // rate when it is not
	left  float64 // scratch: what is not given to flows yet
	n     int     // scratch: flows that have no rate yet
}

// netFlow is a number of bytes on their way.
type netFlow struct {
	id      int32
	path    []int32 // links
	left    float64 // bytes to go at network.at
	rate    float64 // bytes per second
	end     sim.Time
	latency time.Duration
	fixed   bool // scratch: its rate is known
	sent    bool // all bytes are on their way; end is their arrival
}

// The links of node n are 3n and what follows.
const (
	linkOut = iota
	linkIn
	linkInside
	linksOfNode
)

func (w *network) init(g *sim.Engine, nodes []Node, done func(now sim.Time, flow int32)) error {
	*w = network{engine: g, done: done, wakeAt: sim.Forever}
	for i, n := range nodes {
		for _, rate := range []float64{n.Out, n.In, n.Inside} {
			if !(rate > 0) || math.IsInf(rate, 0) {
				return fmt.Errorf("cluster: node %d has a link of %g bytes per second; want more than 0", i, rate)
			}
			w.links = append(w.links, link{rate: rate, whole: rate})
		}
		if n.Latency < 0 || n.InsideLatency < 0 {
			return fmt.Errorf("cluster: node %d has a latency below 0", i)
		}
	}
	w.pass = g.On(sim.Arrive, "pass", w.onPass)
	return nil
}

// path returns the links between two nodes.
func path(from, to int32) []int32 {
	if from == to {
		return []int32{linksOfNode*from + linkInside}
	}
	return []int32{linksOfNode*from + linkOut, linksOfNode*to + linkIn}
}

// send starts a flow and returns its number. When all bytes have arrived done is told.
func (w *network) send(now sim.Time, links []int32, bytes int64, latency time.Duration) int32 {
	w.advance(now)
	id := w.next
	w.next++
	w.flows = append(w.flows, netFlow{id: id, path: links, left: float64(bytes), latency: latency, end: sim.Forever})
	w.share(now)
	return id
}

// cancel ends a flow whose bytes nobody wants any more.
func (w *network) cancel(now sim.Time, id int32) {
	w.advance(now)
	w.flows = slices.DeleteFunc(w.flows, func(f netFlow) bool { return f.id == id })
	w.share(now)
}

// lose takes away a link; what is on its way over it waits until it is back.
func (w *network) lose(now sim.Time, link int32) { w.set(now, link, 0) }

// restore brings a link back.
func (w *network) restore(now sim.Time, link int32) { w.set(now, link, w.links[link].whole) }

func (w *network) set(now sim.Time, link int32, rate float64) {
	w.advance(now)
	w.links[link].rate = rate
	w.share(now)
}

// advance moves all bytes on to now. Nothing ends before: onPass comes at each end.
func (w *network) advance(now sim.Time) {
	d := now.Sub(w.at).Seconds()
	w.at = now
	if d == 0 {
		return
	}
	for i := range w.flows {
		f := &w.flows[i]
		if !f.sent {
			f.left = max(f.left-float64(f.rate*d), 0)
		}
	}
}

// share gives every flow its max-min fair rate by progressive filling: the link that has
// the least for each of its flows settles theirs, and so on with what is left.
func (w *network) share(now sim.Time) {
	w.used = w.used[:0]
	unsettled := 0
	for i := range w.flows {
		f := &w.flows[i]
		f.fixed = f.sent
		if f.sent {
			continue
		}
		unsettled++
		for _, k := range f.path {
			l := &w.links[k]
			if l.n == 0 {
				l.left = l.rate
				w.used = append(w.used, k)
			}
			l.n++
		}
	}
	for unsettled > 0 {
		tight, least := int32(-1), math.Inf(1)
		for _, k := range w.used {
			if l := &w.links[k]; l.n > 0 && l.left/float64(l.n) < least {
				tight, least = k, l.left/float64(l.n)
			}
		}
		for i := range w.flows {
			if f := &w.flows[i]; !f.fixed && slices.Contains(f.path, tight) {
				w.settle(now, f, least)
				unsettled--
			}
		}
	}
	w.wake(now)
}

// settle gives a flow its rate. One whose rate stays ends when it would have.
func (w *network) settle(now sim.Time, f *netFlow, rate float64) {
	f.fixed = true
	for _, k := range f.path {
		l := &w.links[k]
		l.left = max(l.left-rate, 0)
		l.n--
	}
	if f.rate == rate && f.end != sim.Forever {
		return
	}
	f.rate = rate
	f.end = sim.Forever
	// Rounded up, but for what floating point adds to whole nanoseconds.
	if ns := math.Ceil(f.left / rate * (1e9 * (1 - 1e-13))); rate > 0 && ns < float64(sim.Forever-now) {
		f.end = now + sim.Time(ns)
	}
}

// wake has the engine wake the network at the next end of a flow.
func (w *network) wake(now sim.Time) {
	next := sim.Forever
	for i := range w.flows {
		next = min(next, w.flows[i].end)
	}
	if next < sim.Forever && next != w.wakeAt {
		w.wakeAt = next
		w.engine.At(max(next, now), w.pass, 0)
	}
}

// onPass ends the flows whose end it is: their last bytes leave, and after the latency
// arrive.
func (w *network) onPass(now sim.Time, _ uint32) {
	if now != w.wakeAt {
		return // something has changed since
	}
	w.wakeAt = sim.Forever
	w.advance(now)
	var arrived []int32
	kept := w.flows[:0]
	for _, f := range w.flows {
		switch {
		case f.end > now:
		case !f.sent && f.latency > 0:
			f.sent, f.end = true, now.Add(f.latency)
		default:
			arrived = append(arrived, f.id)
			continue
		}
		kept = append(kept, f)
	}
	w.flows = kept
	w.share(now)
	for _, id := range arrived {
		w.done(now, id)
	}
}
