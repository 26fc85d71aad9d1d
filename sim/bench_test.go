package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"testing"
)

// The hold model: n pending events; each event fired schedules another. Delays are
// those of a serving cluster: mostly iterations of 10 to 40 ms, some of seconds.
// On a two-core cloud machine (medians, ns an event):
//
//	pending            10    1,000   100,000
//	binary heap        20       52       105     <- Engine
//	4-ary heap         20       68       129
//	container/heap     96      150       331
//
// Run it with go test -bench Queue ./sim.

type queue interface {
	push(Event)
	pop() Event
}

// quaternary is a 4-ary heap of values.
type quaternary []Event

func (h *quaternary) push(e Event) {
	q := append(*h, e)
	i := len(q) - 1
	for i > 0 {
		p := (i - 1) / 4
		if !e.before(&q[p]) {
			break
		}
		q[i] = q[p]
		i = p
	}
	q[i] = e
	*h = q
}

func (h *quaternary) pop() Event {
	q := *h
	top, n := q[0], len(q)-1
	e := q[n]
	q = q[:n]
	*h = q
	if n == 0 {
		return top
	}
	i := 0
	for c := 1; c < n; c = 4*i + 1 {
		best := c
		for k := c + 1; k < min(c+4, n); k++ {
			if q[k].before(&q[best]) {
				best = k
			}
		}
		if !q[best].before(&e) {
			break
		}
		q[i] = q[best]
		i = best
	}
	q[i] = e
	return top
}

// boxed is the standard library's heap of pointers behind an interface.
type boxed []*Event

func (h boxed) Len() int           { return len(h) }
func (h boxed) Less(i, j int) bool { return h[i].before(h[j]) }
func (h boxed) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *boxed) Push(x any)        { *h = append(*h, x.(*Event)) }
func (h *boxed) Pop() any {
	q := *h
	x := q[len(q)-1]
	*h = q[:len(q)-1]
	return x
}
func (h *boxed) push(e Event) { heap.Push(h, &e) }
func (h *boxed) pop() Event   { return *heap.Pop(h).(*Event) }

func servingDelay(rng *rand.Rand) Time {
	if rng.IntN(100) < 90 {
		return 10e6 + Time(rng.Int64N(30e6))
	}
	return Time(rng.Int64N(5e9))
}

func BenchmarkQueue(b *testing.B) {
	for _, n := range []int{10, 1_000, 100_000} {
		for _, q := range []struct {
			name string
			new  func() queue
		}{
			{"binary", func() queue { return new(eventHeap) }},
			{"quaternary", func() queue { return new(quaternary) }},
			{"container", func() queue { return new(boxed) }},
		} {
			b.Run(fmt.Sprintf("%s/%d", q.name, n), func(b *testing.B) {
				rng := rand.New(rand.NewPCG(1, 1))
				h := q.new()
				for i := range n {
					h.push(Event{At: servingDelay(rng), key: uint64(i)})
				}
				seq := uint64(n)
				b.ReportAllocs()
				for b.Loop() {
					e := h.pop()
					seq++
					h.push(Event{At: e.At + servingDelay(rng), key: seq})
				}
			})
		}
	}
}

func BenchmarkEngine(b *testing.B) {
	for _, n := range []int{10, 1_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var g Engine
			rng := rand.New(rand.NewPCG(1, 1))
			var hop Action
			hop = g.On(Finish, "hop", func(now Time, arg uint32) { g.At(now+servingDelay(rng), hop, arg) })
			for i := range n {
				g.At(Time(i), hop, uint32(i))
			}
			b.ReportAllocs()
			for b.Loop() {
				e := g.queue.pop()
				g.now = e.At
				g.actions[e.Do].do(e.At, e.Arg)
			}
		})
	}
}

func BenchmarkSketchAdd(b *testing.B) {
	var s Sketch
	v := int64(20_000_000)
	for b.Loop() {
		s.Add(v, 3)
		v += 12345
	}
}
