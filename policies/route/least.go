package route

import (
	"orrery/sim"
	"orrery/workloads"
)

// Measure is what counts as the load of a replica.
type Measure uint8

// The measures of load.
const (
	Requests Measure = iota // unfinished requests
	Tokens                  // their prompt tokens
	Work                    // the tokens that they are predicted to take still, prompts and answers
)

// of returns the load of a replica.
func (m Measure) of(r *Replica) int64 {
	switch m {
	case Tokens:
		return r.Tokens
	case Work:
		return r.Work
	}
	return int64(r.Outstanding)
}

// Least picks the ready replica with the least load, the lowest index among equals.
//
// Where groups of replicas differ in Speeds it picks the shortest expected delay: the
// load with the new request, over the speed (Shenker and Weinrib, 1989).
type Least struct {
	By     Measure
	Speeds []float64 // of the groups, relative; groups beyond its end have 1
	// Guess is the predictor behind the measure Work; nil for a [MeanAnswer].
	Guess Predictor
}

// LeastOutstanding picks the replica with the fewest unfinished requests, waiting
// and running alike, the lowest index among equals.
type LeastOutstanding struct{}

// Route implements [Policy].
func (LeastOutstanding) Route(_ sim.Time, _ *workloads.Request, replicas []Replica) int {
	best := -1
	for i := range replicas {
		if replicas[i].Ready && (best < 0 || replicas[i].Outstanding < replicas[best].Outstanding) {
			best = i
		}
	}
	return best
}

// Indexed implements [Indexer].
func (LeastOutstanding) Indexed() Policy { return &indexedLeast{} }

// Route implements [Policy].
func (p Least) Route(_ sim.Time, r *workloads.Request, replicas []Replica) int {
	best, least := -1, 0.0
	for i := range replicas {
		if !replicas[i].Ready {
			continue
		}
		if d := p.delay(r, &replicas[i]); best < 0 || d < least {
			best, least = i, d
		}
	}
	return best
}

// delay returns the load of a replica, with the request where speeds differ: without, an
// idle replica would be as good as another whatever its speed.
func (p *Least) delay(r *workloads.Request, replica *Replica) float64 {
	load := p.By.of(replica)
	if len(p.Speeds) == 0 {
		return float64(load)
	}
	speed := 1.0
	if g := int(replica.Group); g < len(p.Speeds) {
		speed = p.Speeds[g]
	}
	return float64(load+p.own(r)) / speed
}

// own returns the load that a request brings.
func (p *Least) own(r *workloads.Request) int64 {
	switch p.By {
	case Tokens:
		return int64(r.Prompt)
	case Work:
		return int64(r.Prompt) + int64(p.Guess.Answer(r))
	}
	return 1
}

// Predictor implements [Predicting].
func (p Least) Predictor() Predictor {
	if p.Guess == nil {
		return &MeanAnswer{}
	}
	return p.Guess
}

// Indexed implements [Indexer].
func (p Least) Indexed() Policy {
	p.Guess = p.Predictor()
	return &indexedLeast{Least: p}
}

// indexedLeast chooses as its Least does, by the winners of one tournament for each
// group: the cost of a request grows with the logarithm of the number of replicas.
type indexedLeast struct {
	Least
	groups []tournament
	place  []seat // of each replica
}

// seat is a replica's place in the tournament of its group.
type seat struct{ group, leaf int32 }

// Changed implements [Watcher].
func (p *indexedLeast) Changed(replicas []Replica, i int) {
	if len(p.place) < len(replicas) {
		p.seat(replicas)
	}
	key := absent
	if replicas[i].Ready {
		key = p.By.of(&replicas[i])
	}
	at := p.place[i]
	p.groups[at.group].set(at.leaf, key)
}

// seat gives every replica its place.
func (p *indexedLeast) seat(replicas []Replica) {
	p.place = make([]seat, len(replicas))
	var members [][]int32
	for i := range replicas {
		g := replicas[i].Group
		for int(g) >= len(members) {
			members = append(members, nil)
		}
		p.place[i] = seat{g, int32(len(members[g]))}
		members[g] = append(members[g], int32(i))
	}
	p.groups = make([]tournament, len(members))
	for g := range members {
		p.groups[g] = newTournament(members[g])
	}
}

// Route implements [Policy].
func (p *indexedLeast) Route(_ sim.Time, r *workloads.Request, replicas []Replica) int {
	best, least := -1, 0.0
	for g := range p.groups {
		i := p.groups[g].winner()
		if i < 0 {
			continue
		}
		if d := p.delay(r, &replicas[i]); best < 0 || d < least || d == least && i < best {
			best, least = i, d
		}
	}
	return best
}
