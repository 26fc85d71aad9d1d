package hwmodel

import (
	"fmt"
	"math"
	"time"
)

// Tables is a cost model that looks measured times up, composed exactly as the
// simulator Vidur composes them, so that its profiles can be replayed. All tables hold
// milliseconds of one layer on one device.
//
//	stage = Layers x (token-level operators at T, the tokens rounded up to a multiple of 8
//	        + KV save at the exact tokens
//	        + decode attention at (decodes, mean context), the mean truncated, then
//	          rounded up to a multiple of 64
//	        + prefill attention at (cached tokens, chunk): the sum of each chunk's cached
//	          tokens rounded up to 64, and the root of the sum of squared chunks, rounded
//	        + with tensor parallelism twice (all-reduce at T + 0.02))
//
// With grouped queries, decode attention over more than one sequence and prefill
// attention over more than one chunk cost 1.1 times the table. Send and host times
// come on top. LM head, embedding and swapping have no table and cost nothing.
//
// Between two entries of a table the time is linear. Outside, the nearest entry
// counts and the first such look-up is kept as an error, see [Tables.Err]; or, if
// Extrapolate is set, the last two entries are carried on and each look-up that does
// is counted.
type Tables struct {
	Layers         int  // of one stage
	PipelineStages int  // 0 counts as 1
	Tensor         int  // tensor-parallel degree
	Grouped        bool // fewer key/value heads than query heads
	Extrapolate    bool

	Token     []Curve // operators by tokens: norms, projections, rotary, activation, addition
	Save      Curve   // copy into the KV cache by tokens; empty if it costs nothing
	Decode    Surface // decode attention by sequences and mean context
	Prefill   Surface // prefill attention by cached tokens and chunk
	AllReduce Curve   // by tokens
	SendRecv  Curve   // by tokens
	HostParts []Curve // host time by sequences, parts that add up; empty if there is none

	err          error
	extrapolated int64
	perTokens    map[int]float64
}

const (
	tokenStep   = 8    // tokens are rounded up to a multiple of it
	contextStep = 64   // contexts are rounded up to a multiple of it
	groupedCost = 1.1  // of attention over several sequences with grouped queries
	reduceCost  = 0.02 // milliseconds of host time to launch a collective
)

// Err returns the first look-up that fell outside its table, nil if there was none.
// A run whose cost model has an error ends with it.
func (t *Tables) Err() error { return t.err }

// Extrapolated returns how many look-ups went beyond their table.
func (t *Tables) Extrapolated() int64 { return t.extrapolated }

// Stages returns the number of pipeline stages.
func (t *Tables) Stages() int { return max(1, t.PipelineStages) }

// Stage returns how long any of the stages computes b.
func (t *Tables) Stage(_ int, b *Batch) time.Duration {
	if b.Tokens() == 0 {
		return 0
	}
	layer := t.tokenLevel(b.Tokens())
	if b.Decodes > 0 {
		mean := b.DecodeContext / int64(b.Decodes)
		mean = (mean + contextStep - 1) / contextStep * contextStep
		ms := t.surface(&t.Decode, float64(b.Decodes), float64(mean))
		if t.Grouped && b.Decodes > 1 {
			ms *= groupedCost
		}
		layer += ms
	}
	if b.Chunks > 0 {
		chunk := math.RoundToEven(math.Sqrt(float64(b.ChunkSquares)))
		ms := t.surface(&t.Prefill, float64(b.ChunkContext64), chunk)
		if t.Grouped && b.Chunks > 1 {
			ms *= groupedCost
		}
		layer += ms
	}
	return milliseconds(layer * float64(t.Layers))
}

// tokenLevel returns the milliseconds of a layer that depend on the number of
// tokens alone.
func (t *Tables) tokenLevel(tokens int) float64 {
	if ms, ok := t.perTokens[tokens]; ok {
		return ms
	}
	padded := float64((tokens + tokenStep - 1) / tokenStep * tokenStep)
	before := t.extrapolated
	var ms float64
	for i := range t.Token {
		ms += t.curve(&t.Token[i], padded)
	}
	if len(t.Save.X) > 0 {
		ms += t.curve(&t.Save, float64(tokens))
	}
	if t.Tensor > 1 {
		ms += 2 * (t.curve(&t.AllReduce, padded) + reduceCost)
	}
	// A look-up beyond a table is not kept, so that each is counted.
	if t.extrapolated == before {
		if t.perTokens == nil {
			t.perTokens = map[int]float64{}
		}
		t.perTokens[tokens] = ms
	}
	return ms
}

// Send returns how long it takes to hand b to the next stage.
func (t *Tables) Send(b *Batch) time.Duration {
	if t.Stages() == 1 {
		return 0
	}
	return milliseconds(t.curve(&t.SendRecv, float64((b.Tokens()+tokenStep-1)/tokenStep*tokenStep)))
}

// Host returns how long the host is busy with b. It does not overlap with the
// devices.
func (t *Tables) Host(b *Batch) (time.Duration, bool) {
	var ms float64
	for i := range t.HostParts {
		ms += t.curve(&t.HostParts[i], float64(b.Decodes+b.Chunks))
	}
	return milliseconds(ms), false
}

// curve looks x up in c and notes if it lies outside.
func (t *Tables) curve(c *Curve, x float64) float64 {
	y, inside := c.at(x, t.Extrapolate)
	if !inside {
		t.outside(c.Name, fmt.Sprintf("%g %s", x, c.Unit), fmt.Sprintf("%g to %g", c.first(), c.last()))
	}
	return y
}

// surface looks (a, b) up in s and notes if it lies outside.
func (t *Tables) surface(s *Surface, a, b float64) float64 {
	y, inside := s.at(a, b, t.Extrapolate)
	if !inside {
		t.outside(s.Name, fmt.Sprintf("%g %s and %g %s", a, s.Units[0], b, s.Units[1]), s.extent())
	}
	return y
}

func (t *Tables) outside(table, asked, has string) {
	if t.Extrapolate {
		t.extrapolated++
		return
	}
	if t.err == nil {
		t.err = fmt.Errorf("table %s has no entry for %s (it covers %s); measure further or allow extrapolation", table, asked, has)
	}
}

// milliseconds rounds to the clock's unit.
func milliseconds(ms float64) time.Duration { return time.Duration(math.Round(ms * 1e6)) }
