package route

import (
	"math/bits"

	"orrery/sim"
	"orrery/workloads"
)

// SessionAffinity sends all requests of a conversation to the replica that its first one
// went to, the one with the fewest unfinished requests then. Requests of no
// conversation go by load, and so do conversations whose replica takes no more.
type SessionAffinity struct {
	// Sessions is how many conversations are remembered at least, those used last; no
	// more than twice as many are. 0 for all.
	Sessions int `toml:"sessions_kept"`

	loads        extremes
	recent, past map[int64]int32 // replica of a conversation; recent becomes past when it is full
}

// Changed implements [Watcher].
func (p *SessionAffinity) Changed(replicas []Replica, i int) { p.loads.changed(replicas, i) }

// Route implements [Policy].
func (p *SessionAffinity) Route(_ sim.Time, r *workloads.Request, replicas []Replica) int {
	i := p.loads.least.winner()
	if i < 0 || r.Session == 0 {
		return i
	}
	if home, ok := p.home(r.Session); ok && replicas[home].Ready {
		i = int(home)
	}
	p.keep(r.Session, int32(i))
	return i
}

func (p *SessionAffinity) home(session int64) (replica int32, ok bool) {
	if i, ok := p.recent[session]; ok {
		return i, true
	}
	i, ok := p.past[session]
	return i, ok
}

func (p *SessionAffinity) keep(session int64, replica int32) {
	if p.recent == nil || p.Sessions > 0 && len(p.recent) >= p.Sessions {
		p.recent, p.past = map[int64]int32{}, p.recent
	}
	p.recent[session] = replica
}

// SessionHash sends all requests of a conversation to one replica, by a hash of its
// number: nothing need be remembered, and several gateways agree without talking. While
// that replica is not ready its conversations go to others, each by its hash, and come
// back with it; no other conversation moves. Requests of no conversation are spread by
// their own number.
type SessionHash struct{}

// Route implements [Policy].
func (SessionHash) Route(_ sim.Time, r *workloads.Request, replicas []Replica) int {
	key := mix(uint64(r.Session))
	if r.Session == 0 {
		key = mix(^uint64(r.ID))
	}
	// A sequence of replicas that is the key's own; the first that is ready. It has the
	// effect of the highest of N hashes, and costs one hash as long as most are ready.
	const tries = 64
	for k := range uint64(tries) {
		i, _ := bits.Mul64(mix(key+k), uint64(len(replicas)))
		if replicas[i].Ready {
			return int(i)
		}
	}
	return highest(key, replicas)
}

// highest returns the ready replica with the highest hash together with the key (Thaler
// and Ravishankar, 1998), -1 if none is ready.
func highest(key uint64, replicas []Replica) int {
	best, top := -1, uint64(0)
	for i := range replicas {
		if h := mix(key ^ mix(uint64(i))); replicas[i].Ready && (best < 0 || h > top) {
			best, top = i, h
		}
	}
	return best
}

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
