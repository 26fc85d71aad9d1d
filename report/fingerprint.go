package report

import (
	"fmt"
	"math/bits"

	"orrery/cluster"
)

// Fingerprint is a recorder that hashes the log: all fields of all records, in
// order. Two runs with equal fingerprints did the same. It guards refactorings,
// and proves that crossing stretches of iterations in one jump changes nothing.
//
// Each replica has two chains, one of what happens at the door (arrivals,
// routing, rejections) and one of all else, since how the two, and the replicas,
// are interleaved in the log is not a fact about the run: a stretch of iterations
// is logged when it has ended. The zero Fingerprint is ready to use.
type Fingerprint struct {
	gateway chain
	doors   []chain
	floors  []chain
	records int64
}

// chain is a hash over a sequence of words. It mixes with the folded 128-bit
// product of wyhash (Wang Yi, 2019), which needs about a nanosecond a word.
type chain uint64

func (c *chain) add(words ...uint64) {
	h := uint64(*c)
	for _, w := range words {
		hi, lo := bits.Mul64(h^0xa0761d6478bd642f, w^0xe7037ed1a0b428db)
		h = bits.RotateLeft64(h, 23) ^ hi ^ lo
	}
	*c = chain(h)
}

// Record adds one entry of the log to the hash.
func (f *Fingerprint) Record(r *cluster.Record) {
	f.records++
	c := &f.gateway
	if i := int(r.Replica); i >= 0 {
		for i >= len(f.doors) {
			f.doors = append(f.doors, 0)
			f.floors = append(f.floors, 0)
		}
		c = &f.floors[i]
		if r.What == cluster.Routed || r.What == cluster.Rejected || r.What == cluster.Moved {
			c = &f.doors[i]
		}
	}
	swap := uint64(0)
	if r.Swap {
		swap = 1
	}
	c.add(uint64(r.What)<<1|swap, uint64(r.At), uint64(r.N), uint64(r.Gap))
	if r.What == cluster.Moved {
		c.add(uint64(r.State))
	}
	for i := 0; i < len(r.Reason); i++ {
		c.add(uint64(r.Reason[i]))
	}
	if s := r.Request; s != nil {
		c.add(uint64(s.ID), uint64(s.Arrived), pair(s.Prompt, s.Output), pair(s.Tenant, s.Turn), uint64(s.Session))
		if r.What > cluster.Routed { // before that nothing has become of it
			c.add(uint64(s.Scheduled), uint64(s.First), uint64(s.Last),
				pair(s.Emitted, s.Cached), pair(s.Recomputed, s.Preemptions), uint64(s.LateGaps))
		}
		if s.Class > 0 {
			c.add(pair(s.Class, s.Rung))
		}
		if s.Loaded > 0 {
			c.add(uint64(s.Loaded))
		}
		if s.Tier > 0 || s.Adapter > 0 || s.Retries > 0 {
			c.add(pair(s.Tier, s.Adapter), uint64(s.Retries))
		}
	}
	if it := r.Iteration; it != nil {
		b := &it.Batch
		c.add(uint64(it.Number), uint64(it.Start), uint64(it.End), uint64(it.Host),
			pair(it.Running, it.Waiting), uint64(it.KVUsed),
			uint64(b.Decodes), uint64(b.DecodeContext), uint64(b.Chunks), uint64(b.ChunkTokens), uint64(b.ChunkContext),
			uint64(b.ChunkContext64), uint64(b.ChunkPairs), uint64(b.ChunkSquares), uint64(b.Logits), uint64(b.SwapBytes))
		if it.Steps > 0 {
			c.add(uint64(it.Steps))
		}
		for _, s := range it.Stages {
			c.add(uint64(s.Start), uint64(s.End))
		}
	}
}

func pair(a, b int32) uint64 { return uint64(uint32(a))<<32 | uint64(uint32(b)) }

// Sum returns the hash of all records so far.
func (f *Fingerprint) Sum() uint64 {
	var c chain
	c.add(uint64(f.records), uint64(f.gateway))
	for i := range f.doors {
		c.add(uint64(f.doors[i]), uint64(f.floors[i]))
	}
	return uint64(c)
}

// String returns the hash as 16 hexadecimal digits.
func (f *Fingerprint) String() string { return fmt.Sprintf("%016x", f.Sum()) }
