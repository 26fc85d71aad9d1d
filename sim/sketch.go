package sim

import (
	"fmt"
	"math"
	"math/bits"
)

// Sketch summarises a stream of non-negative durations in nanoseconds and
// answers quantiles with a relative error of at most [SketchError]. Buckets are
// log-linear (the layout of HdrHistogram: Gil Tene, 2012): each power of two is
// cut into 2^sketchBits equal parts, so a bucket index is a few integer
// instructions, the same on every machine. Size is bounded by the range of
// int64 (58,000 counters, allocated only between the smallest and the largest value
// seen), and does not grow with the number of samples. Sketches merge exactly.
//
// The zero Sketch is empty and ready to use.
type Sketch struct {
	counts   []int64 // of the buckets from base on
	base     int
	n        int64
	sum      float64
	min, max int64
}

const sketchBits = 10

// SketchError is the largest relative error of a quantile: half a bucket's width
// over its lower bound.
const SketchError = 1.0 / (1 << (sketchBits + 1))

// bucket returns the index of the bucket that holds v: exact below
// 2^(sketchBits+1), log-linear above.
func bucket(v int64) int {
	e := bits.Len64(uint64(v)) - sketchBits - 1
	if e <= 0 {
		return int(v)
	}
	return e<<sketchBits + int(v>>e)
}

// middle returns the midpoint of bucket i.
func middle(i int) float64 {
	if i < 1<<(sketchBits+1) {
		return float64(i)
	}
	e := i>>sketchBits - 1
	low := int64(i-e<<sketchBits) << e
	return float64(low) + float64(int64(1)<<e-1)/2
}

// Add adds n samples of value v nanoseconds. It panics if v or n is negative.
func (s *Sketch) Add(v, n int64) {
	if v < 0 || n < 0 {
		panic(fmt.Sprintf("sim: %d samples of %d ns added to a sketch", n, v))
	}
	if n == 0 {
		return
	}
	i := bucket(v) - s.base
	if uint(i) >= uint(len(s.counts)) {
		s.cover(bucket(v))
		i = bucket(v) - s.base
	}
	s.counts[i] += n
	if s.n == 0 || v < s.min {
		s.min = v
	}
	s.max = max(s.max, v)
	s.n += n
	s.sum += float64(v) * float64(n)
}

// cover makes room for bucket i, in whole powers of two.
func (s *Sketch) cover(i int) {
	lo := i >> sketchBits << sketchBits
	hi := lo + 1<<sketchBits
	if len(s.counts) > 0 {
		lo, hi = min(lo, s.base), max(hi, s.base+len(s.counts))
	}
	counts := make([]int64, hi-lo)
	copy(counts[max(s.base-lo, 0):], s.counts)
	s.counts, s.base = counts, lo
}

// Merge adds all samples of t to s.
func (s *Sketch) Merge(t *Sketch) {
	if t.n == 0 {
		return
	}
	s.cover(t.base)
	s.cover(t.base + len(t.counts) - 1)
	for i, c := range t.counts {
		s.counts[t.base-s.base+i] += c
	}
	if s.n == 0 || t.min < s.min {
		s.min = t.min
	}
	s.max = max(s.max, t.max)
	s.n += t.n
	s.sum += t.sum
}

// Count returns the number of samples.
func (s *Sketch) Count() int64 { return s.n }

// Sum returns the sum of all samples in nanoseconds.
func (s *Sketch) Sum() float64 { return s.sum }

// Mean returns the exact mean in nanoseconds, NaN if the sketch is empty.
func (s *Sketch) Mean() float64 { return s.sum / float64(s.n) }

// Min returns the exact smallest sample, 0 if the sketch is empty.
func (s *Sketch) Min() int64 { return s.min }

// Max returns the exact largest sample, 0 if the sketch is empty.
func (s *Sketch) Max() int64 { return s.max }

// Quantile returns the p-quantile in nanoseconds: the value of the sample at
// rank ceil(p*n), within [SketchError]. It returns NaN if the sketch is empty.
func (s *Sketch) Quantile(p float64) float64 {
	if s.n == 0 {
		return math.NaN()
	}
	// A product that misses a whole number by rounding alone counts as that number.
	rank := min(max(int64(math.Ceil(p*float64(s.n)*(1-1e-14))), 1), s.n)
	if rank == s.n {
		return float64(s.max)
	}
	for i, c := range s.counts {
		if rank -= c; rank <= 0 {
			return min(max(middle(s.base+i), float64(s.min)), float64(s.max))
		}
	}
	panic("sim: sketch counts do not add up")
}

// Above returns how many samples exceed v nanoseconds, within one bucket.
func (s *Sketch) Above(v int64) int64 {
	var n int64
	for i := max(bucket(v)+1-s.base, 0); i < len(s.counts); i++ {
		n += s.counts[i]
	}
	return n
}

// CDF calls yield for every bucket that holds samples, in order, with the
// bucket's midpoint in nanoseconds and the share of samples up to it.
func (s *Sketch) CDF(yield func(v, share float64) bool) {
	var n int64
	for i, c := range s.counts {
		if c == 0 {
			continue
		}
		n += c
		if !yield(min(max(middle(s.base+i), float64(s.min)), float64(s.max)), float64(n)/float64(s.n)) {
			return
		}
	}
}
