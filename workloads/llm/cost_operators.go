package llm

import (
	"fmt"

	"orrery/hwmodel"
)

// The operators of a layer that depend on the number of tokens alone. Bytes and
// shapes are those of one device of a tensor-parallel group.

// tokenTime returns the seconds of one layer for t tokens, attention and routed experts
// apart.
func (c *Cost) tokenTime(t int) float64 {
	if t == 0 {
		return 0
	}
	return c.projectionTime(t) + c.feedForwardTime(t) + c.moveTime(t) + c.reduceTime(t)
}

// projectionTime returns the seconds of the projections around attention.
func (c *Cost) projectionTime(t int) float64 {
	m := c.model
	q, kv := c.heads.Query*c.heads.Dim, c.heads.KV*c.heads.Dim
	return c.product.Time(t, q+2*kv, m.Hidden) + c.product.Time(t, m.Hidden, q)
}

// feedForwardTime returns the seconds of the MLP, or of what a layer of experts computes
// for every token: the router, and the expert that is always on.
func (c *Cost) feedForwardTime(t int) float64 {
	if c.model.Experts > 0 {
		return c.sharedTime(t)
	}
	return c.mlpTime(t, (c.model.Intermediate+c.par.Tensor-1)/c.par.Tensor)
}

// moveTime returns the seconds of norms, rotary embedding, the copy into the KV cache and
// residual additions.
func (c *Cost) moveTime(t int) float64 {
	m, d := c.model, &c.profile.Device
	q, kv := c.heads.Query*c.heads.Dim, c.heads.KV*c.heads.Dim
	if c.engine.Fused {
		return c.fusedTime(t)
	}
	sum := float64(norms(m)) * c.move.norm.Time(d, hwmodel.RowPass(t, m.Hidden))
	if m.QKNorm { // each head is a row
		sum += c.move.norm.Time(d, hwmodel.RowPass(t*c.heads.Query, c.heads.Dim)) + c.move.norm.Time(d, hwmodel.RowPass(t*c.heads.KV, c.heads.Dim))
	}
	sum += c.move.rotary.bytes(d, float64(4*t)*float64(q+kv))
	sum += c.move.rotary.bytes(d, float64(2*t)*float64(2*kv)+float64(t*2*kv)*float64(c.heads.KVBytes))
	adds := 2.0
	if m.ParallelBlock {
		adds = 1
	}
	return sum + float64(adds*c.move.add.bytes(d, 3*float64(2*t)*float64(m.Hidden)))
}

// fusedTime returns the same of an engine that fuses them: norms with the additions before
// them, in the all-reduce if there is one, and the norms of heads, which attention applies
// as it rotates, in a kernel of their own.
func (c *Cost) fusedTime(t int) float64 {
	m, d := c.model, &c.profile.Device
	var sum float64
	if c.par.Tensor == 1 { // reads the residual and what is added, writes the sum and its norm
		sum = float64(norms(m)) * c.move.add.bytes(d, 4*float64(2*t)*float64(m.Hidden))
	}
	if m.QKNorm {
		sum += c.move.norm.Time(d, hwmodel.RowPass(t*(c.heads.Query+c.heads.KV), c.heads.Dim))
	}
	return sum
}

// reduceTime returns the seconds in which the devices of a group add up their parts.
func (c *Cost) reduceTime(t int) float64 {
	if c.par.Tensor == 1 {
		return 0
	}
	reduces := 2.0
	if c.model.ParallelBlock {
		reduces = 1
	}
	return float64(reduces * c.reduce.Time(float64(2*t)*float64(c.model.Hidden)))
}

// mlpTime returns the seconds of a dense MLP of the given width for t tokens.
func (c *Cost) mlpTime(t, width int) float64 {
	m, p := c.model, c.profile
	d := &p.Device
	in := 1
	if m.Gated {
		in = 2
	}
	up := c.product.Time(t, in*width, m.Hidden)
	act := c.move.activation.bytes(d, float64(2*t)*float64((in+1)*width))
	down := c.product.Time(t, m.Hidden, width)
	return up + act + down
}

// sharedTime returns the seconds of the router and of the expert that is always on.
func (c *Cost) sharedTime(t int) float64 {
	m, tp := c.model, c.par.Tensor
	total := c.product.Time(t, m.Experts, m.Hidden)
	if m.SharedExpertSize > 0 {
		total += c.mlpTime(t, (m.SharedExpertSize+tp-1)/tp)
	}
	return total
}

// routedTime returns the seconds of the experts of a layer that t tokens are sent to, with
// their activation and weighted sum. Every device holds a slice of each expert of its
// rank. Tokens that an iteration is padded with go where one token goes, and do not count.
func (c *Cost) routedTime(t int) float64 {
	m := c.model
	slices := c.par.Tensor / c.ranks // of an expert
	layer := hwmodel.ExpertLayer{
		Tokens: t, Hidden: m.Hidden, Inter: (m.Intermediate + slices - 1) / slices,
		PerToken: m.ExpertsPerToken, Experts: m.Experts, Ranks: c.ranks,
	}
	if m.ExpertSkew > 0 {
		layer.Spread = fmt.Sprintf("power_law_%g", m.ExpertSkew)
	}
	load, err := layer.Load()
	if err != nil {
		panic(err) // the spread is known
	}
	return c.experts.Time(&load)
}

// embedding returns the seconds to look up t tokens. With tensor parallelism every
// device holds a slice of the vocabulary and the results are added up.
func (c *Cost) embedding(t int) float64 {
	if v, ok := c.embed.get(t); ok {
		return v
	}
	row := float64(2*t) * float64(c.model.Hidden)
	v := c.move.add.bytes(&c.profile.Device, 2*row)
	if c.par.Tensor > 1 {
		v += c.reduce.Time(row)
	}
	return c.embed.put(t, v)
}

// lmHead returns the seconds of the final norm and the projection to the
// vocabulary for the sequences that sample. With tensor parallelism the slices are
// gathered, which takes half of an all-reduce of the same size.
func (c *Cost) lmHead(sequences int) float64 {
	if sequences == 0 {
		return 0
	}
	if v, ok := c.head.get(sequences); ok {
		return v
	}
	m, p, tp := c.model, c.profile, c.par.Tensor
	d := &p.Device
	v := c.move.norm.Time(d, hwmodel.RowPass(sequences, m.Hidden))
	v += c.logits.Time(sequences, (m.Vocab+tp-1)/tp, m.Hidden)
	if tp > 1 {
		v += c.reduce.Time(float64(sequences) * float64(m.Vocab))
	}
	return c.head.put(sequences, v)
}

// memo keeps the costs of small whole numbers in a slice and of large ones in a
// map. Its zero value is empty; the slice grows by doubling to what is asked.
type memo struct {
	dense  []float64 // 0 where nothing is kept yet
	sparse map[int]float64
}

// get returns the cost kept for n.
func (m *memo) get(n int) (float64, bool) {
	if n < len(m.dense) {
		v := m.dense[n]
		return v, v != 0
	}
	if n < memoised {
		return 0, false
	}
	v, ok := m.sparse[n]
	return v, ok
}

// put keeps v for n and returns it.
func (m *memo) put(n int, v float64) float64 {
	if n >= memoised {
		if m.sparse == nil {
			m.sparse = map[int]float64{}
		}
		m.sparse[n] = v
		return v
	}
	if n >= len(m.dense) {
		grown := make([]float64, min(memoised, max(n+1, 2*len(m.dense), 256)))
		copy(grown, m.dense)
		m.dense = grown
	}
	m.dense[n] = v
	return v
}
