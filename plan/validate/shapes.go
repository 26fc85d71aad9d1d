package validate

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"time"

	"orrery/cluster"
	"orrery/hwmodel"
	"orrery/report"
)

// iteration is what is kept of one.
type iteration struct {
	batch  hwmodel.Batch
	device time.Duration
	host   time.Duration // the rest of it
}

// iterations is a recorder that keeps them all.
type iterations []iteration

// Record keeps an iteration.
func (l *iterations) Record(r *cluster.Record) {
	if r.What != cluster.Iterated {
		return
	}
	it := r.Iteration
	device := it.Stages[0].End.Sub(it.Stages[0].Start)
	*l = append(*l, iteration{it.Batch, device, it.End.Sub(it.Start) - device})
}

// priced is an iteration that really ran, and its price in seconds.
type priced struct {
	iteration
	seconds float64
}

// Shape compares the really run iterations of like batches with their prices, batch
// by batch: it judges the cost model without what queues make of its errors.
type Shape struct {
	Chunks bool `json:"chunks"` // whether prompts are part of the batch
	// Low and High bound the tokens of the batches.
	Low   int `json:"tokens_low"`
	High  int `json:"tokens_high"`
	Count int `json:"count"`
	// RealS and PricedS are mean seconds on the device, HostS what the host added in
	// the real run.
	RealS   report.Number `json:"real_s"`
	PricedS report.Number `json:"priced_s"`
	HostS   report.Number `json:"host_s"`
	Error   report.Number `json:"error"`        // of the sums: priced over real, less 1
	Scatter report.Number `json:"median_error"` // median of |priced/real - 1|, batch by batch
}

// Name says in words which batches.
func (s *Shape) Name() string {
	tokens := fmt.Sprintf("%d-%d tokens", s.Low, s.High)
	if s.Low == s.High {
		tokens = fmt.Sprintf("%d tokens", s.Low)
		if s.Low == 1 {
			tokens = "1 token"
		}
	}
	if s.Chunks {
		return "with prompts, " + tokens
	}
	return "decodes alone, " + tokens
}

// shapes sorts iterations by the octave of their tokens, decodes alone first.
func shapes(list []priced) []Shape {
	type key struct {
		chunks bool
		octave int
	}
	groups := make(map[key][]priced)
	var keys []key
	for _, it := range list {
		k := key{it.batch.Chunks > 0, bits.Len(uint(it.batch.Tokens()))}
		if groups[k] == nil {
			keys = append(keys, k)
		}
		groups[k] = append(groups[k], it)
	}
	slices.SortFunc(keys, func(a, b key) int {
		if a.chunks != b.chunks {
			if b.chunks {
				return -1
			}
			return 1
		}
		return a.octave - b.octave
	})
	out := make([]Shape, len(keys))
	for i, k := range keys {
		out[i] = shape(groups[k])
		out[i].Chunks = k.chunks
	}
	return out
}

func shape(list []priced) Shape {
	s := Shape{Low: math.MaxInt, Count: len(list)}
	var real, price, host float64
	var errs []float64
	for i := range list {
		it := &list[i]
		n := it.batch.Tokens()
		s.Low, s.High = min(s.Low, n), max(s.High, n)
		real += it.device.Seconds()
		price += it.seconds
		host += it.host.Seconds()
		errs = append(errs, math.Abs(it.seconds/it.device.Seconds()-1))
	}
	n := float64(len(list))
	slices.Sort(errs)
	s.RealS, s.PricedS, s.HostS = report.Number(real/n), report.Number(price/n), report.Number(host/n)
	s.Error, s.Scatter = report.Number(price/real-1), report.Number(errs[len(errs)/2])
	return s
}
