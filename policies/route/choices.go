package route

import (
	"math/rand/v2"
	"slices"

	"orrery/sim"
	"orrery/workloads"
)

// PowerOf draws so many different replicas and picks the least loaded of them, the one
// drawn first among equals (Mitzenmacher, 2001).
type PowerOf struct {
	Choices int // 0 counts as 2
	By      Measure
	Rand    *rand.Rand

	drawn []int // by the present request, ascending
}

// Route implements [Policy].
func (p *PowerOf) Route(_ sim.Time, _ *workloads.Request, replicas []Replica) int {
	choices := p.Choices
	if choices == 0 {
		choices = 2
	}
	p.drawn = p.drawn[:0]
	best := -1
	for range min(choices, len(replicas)) {
		i := draw(p.Rand, replicas, p.drawn)
		if i < 0 {
			break
		}
		if best < 0 || p.By.of(&replicas[i]) < p.By.of(&replicas[best]) {
			best = i
		}
		at, _ := slices.BinarySearch(p.drawn, i)
		p.drawn = slices.Insert(p.drawn, at, i)
	}
	return best
}

// PowerOfTwo draws two different replicas and picks the one with fewer unfinished
// requests.
type PowerOfTwo struct {
	Rand *rand.Rand
	two  PowerOf
}

// Route implements [Policy].
func (p *PowerOfTwo) Route(now sim.Time, r *workloads.Request, replicas []Replica) int {
	p.two.Rand = p.Rand
	return p.two.Route(now, r, replicas)
}

// draw returns a ready replica that is not among those drawn before, which ascend, all
// such replicas alike; -1 if there is none.
func draw(rng *rand.Rand, replicas []Replica, before []int) int {
	n := len(replicas) - len(before)
	if n == 0 {
		return -1
	}
	if n == 1 && len(before) == 0 {
		return nth(replicas, before, 0) // no need for a random number
	}
	// Most replicas are ready most of the time: draw again rather than count them.
	const tries = 16
	for range tries {
		i := rng.IntN(n)
		for _, k := range before {
			if i >= k {
				i++
			}
		}
		if replicas[i].Ready {
			return i
		}
	}
	ready := 0
	for i := range replicas {
		if replicas[i].Ready && !slices.Contains(before, i) {
			ready++
		}
	}
	if ready == 0 {
		return -1
	}
	return nth(replicas, before, rng.IntN(ready))
}

// nth returns the index of the n-th ready replica, from 0, leaving out those drawn
// before; -1 if there are not so many.
func nth(replicas []Replica, before []int, n int) int {
	for i := range replicas {
		if !replicas[i].Ready || slices.Contains(before, i) {
			continue
		}
		if n == 0 {
			return i
		}
		n--
	}
	return -1
}
