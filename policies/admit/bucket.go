package admit

import (
	"fmt"
	"math"
	"time"

	"orrery/policies/route"
	"orrery/sim"
	"orrery/workloads"
)

// TokenBucket lets in Rate a second on average, and Burst at once after a pause: of
// requests, or of tokens. Tokens of a prompt count when it is let in; those of the answer
// when the request has ended, so that a long answer delays what comes after it.
//
// The bucket is kept as the time at which it will be full (the generic cell rate algorithm
// of ITU-T I.371), in whole nanoseconds; each is rounded up, so that nobody comes early.
type TokenBucket struct {
	Rate      float64 // a second
	Burst     float64 // size of the bucket, at least 1
	Tokens    bool    // count tokens rather than requests
	PerTenant bool    // one bucket for each tenant, rather than one for all
	// Wait is how long a request may be held, from its arrival, until the bucket has
	// enough for it; 0 is not at all. Those held go in the order in which they are asked
	// about, and nobody overtakes the first of them because it asks for less.
	Wait time.Duration

	buckets map[int32]*bucket
}

// bucket is the state of one bucket.
type bucket struct {
	full  sim.Time // when it will be full if nothing more is taken
	held  int      // requests held for it
	until sim.Time // when it will have enough for the first of them
}

// bucket returns that of a tenant.
func (b *TokenBucket) bucket(tenant int32) *bucket {
	if !b.PerTenant {
		tenant = 0
	}
	if b.buckets == nil {
		b.buckets = map[int32]*bucket{}
	}
	k := b.buckets[tenant]
	if k == nil {
		k = &bucket{}
		b.buckets[tenant] = k
	}
	return k
}

// fill returns how long it takes to fill so much into a bucket, rounded up to the
// nanosecond: nobody comes early.
func (b *TokenBucket) fill(n float64) time.Duration {
	return time.Duration(min(math.Ceil(n*1e9/b.Rate), 1<<60))
}

// Admit implements [Policy].
func (b *TokenBucket) Admit(now sim.Time, r *Request, _ []route.Replica) Verdict {
	cost := 1.0
	if b.Tokens {
		cost = float64(r.Prompt)
	}
	k := b.bucket(r.Tenant)
	if r.Held {
		k.held--
	}
	if cost > b.Burst {
		return Verdict{Reject: "asks for more than the token bucket holds"}
	}
	full := max(k.full, now).Add(b.fill(cost))
	ready := full.Add(-b.fill(b.Burst)) // when there is, or was, enough
	switch {
	case now < k.until:
		ready = k.until // behind those that are held, or at least beside them
	case !r.Held && k.held > 0:
		ready = now + 1 // they are asked in this very instant, and go first
	}
	switch {
	case ready <= now:
		k.full = full
		return Verdict{}
	case ready > r.Arrived.Add(b.Wait):
		return Verdict{Reject: "the token bucket is empty"}
	}
	k.held++
	k.until = ready
	return Verdict{Until: ready}
}

// Routed implements [Watcher].
func (b *TokenBucket) Routed(sim.Time, *workloads.Request, int) {}

// Prefilled implements [Watcher].
func (b *TokenBucket) Prefilled(sim.Time, *workloads.Request, int, sim.Time) {}

// Lost implements [Watcher].
func (b *TokenBucket) Lost(sim.Time, *workloads.Request, int) {}

// Ended implements [Watcher].
func (b *TokenBucket) Ended(now sim.Time, r *workloads.Request, _ int, emitted int32) {
	if b.Tokens {
		k := b.bucket(r.Tenant)
		k.full = max(k.full, now).Add(b.fill(float64(emitted)))
	}
}

// Check returns an error unless the bucket can be kept.
func (b *TokenBucket) Check() error {
	switch {
	case !(b.Rate >= 1e-6 && b.Rate <= 1e9):
		return fmt.Errorf("admit_rate is %v; want 1e-6 to 1e9 a second", b.Rate)
	case !(b.Burst >= 1 && b.Burst <= 1e9):
		return fmt.Errorf("admit_burst is %v; want 1 to 1e9", b.Burst)
	}
	return nil
}
