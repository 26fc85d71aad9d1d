package kernel

import (
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

// Attend computes causal attention of the spans' queries over KV memory, which holds
// their own keys and values already (see [Set.Store]). A row of qkv begins with its
// heads query heads; a row of out is the heads of the result. Query heads share key
// heads in groups, heads/kv.Heads to each.
//
// Items are a key head and a tile of a span's tokens. All query rows of an item,
// tokens times group, meet each key and value together: one pass over KV memory serves
// the whole group.
func (s *Set) Attend(out, qkv []float32, heads int, kv *KV, spans []Span) {
	s.attend = attendTask{out: out, qkv: qkv, heads: heads, kv: kv, spans: spans, cuts: s.attend.cuts[:0]}
	t := &s.attend
	t.scale = float32(1 / math.Sqrt(float64(kv.HeadDim)))
	tile := max(1, queryRows/(heads/kv.Heads))
	for i := range spans {
		for lo := 0; lo < spans[i].Tokens; lo += tile {
			t.cuts = append(t.cuts, cut{span: i, lo: lo, hi: min(lo+tile, spans[i].Tokens)})
		}
	}
	s.each(len(t.cuts)*kv.Heads, t)
}

const (
	// queryRows is how many query rows an item has at most: enough for a matrix product
	// to run at full speed, few enough that their scores over some thousand keys fit
	// the L2 cache.
	queryRows = 64
	// directRows is up to how many query rows an item reads keys and values where
	// they lie, one dot product each; with more they are first gathered into one matrix.
	directRows = 8
)

type attendTask struct {
	out, qkv []float32
	heads    int
	kv       *KV
	spans    []Span
	cuts     []cut
	scale    float32
}

// scratch is a worker's memory for attention.
type scratch struct {
	q, scores, o []float32 // query rows × HeadDim, × keys, × HeadDim
	k, v         []float32 // keys × HeadDim
}

func (t *attendTask) do(w *worker, item int) {
	c, head := t.cuts[item/t.kv.Heads], item%t.kv.Heads
	s := &t.spans[c.span]
	d, group := t.kv.HeadDim, t.heads/t.kv.Heads
	rows, keys := (c.hi-c.lo)*group, s.Before+c.hi
	w.q, w.o, w.scores = Grow(w.q, rows*d), Grow(w.o, rows*d), Grow(w.scores, rows*keys)
	qWidth, outWidth := (t.heads+2*t.kv.Heads)*d, t.heads*d
	// The heads of a group lie side by side in a row, so query row r is head r%group
	// of token r/group.
	for i := c.lo; i < c.hi; i++ {
		copy(w.q[(i-c.lo)*group*d:(i-c.lo+1)*group*d], t.qkv[(s.Row+i)*qWidth+head*group*d:])
	}
	if rows <= directRows {
		t.direct(w, s, head, rows, keys, group)
	} else {
		t.gathered(w, s, head, rows, keys, group)
	}
	for i := c.lo; i < c.hi; i++ {
		copy(t.out[(s.Row+i)*outWidth+head*group*d:][:group*d], w.o[(i-c.lo)*group*d:])
	}
}

// mask turns the scores of each query row into weights, 0 for keys after its token.
func (t *attendTask) mask(w *worker, rows, keys, group int) {
	for r := range rows {
		row := w.scores[r*keys : (r+1)*keys]
		seen := keys - (rows-1)/group + r/group
		softmax(row[:seen], t.scale)
		clear(row[seen:])
	}
}

// gathered multiplies whole matrices: scores = q kᵀ, o = scores v.
func (t *attendTask) gathered(w *worker, s *Span, head, rows, keys, group int) {
	d := t.kv.HeadDim
	w.k, w.v = Grow(w.k, keys*d), Grow(w.v, keys*d)
	for lo := 0; lo < keys; lo += t.kv.BlockTokens {
		n := min(t.kv.BlockTokens, keys-lo) * d
		at := t.kv.at(s.Table[lo/t.kv.BlockTokens], head)
		copy(w.k[lo*d:lo*d+n], t.kv.K[at:])
		copy(w.v[lo*d:lo*d+n], t.kv.V[at:])
	}
	w.blas.GemmNT(w.scores, w.q, w.k, rows, keys, d, keys, d, d)
	t.mask(w, rows, keys, group)
	w.blas.GemmNN(w.o, w.scores, w.v, rows, d, keys, d, keys, d)
}

// direct reads keys and values where they lie, a block at a time. It does the same
// operations in the same order as gathered does with gonum's BLAS; a matrix product over
// a block of a few tokens would cost more to call than to compute.
func (t *attendTask) direct(w *worker, s *Span, head, rows, keys, group int) {
	var g gonum.Implementation
	d, size := t.kv.HeadDim, t.kv.BlockTokens
	for lo := 0; lo < keys; lo += size {
		n := min(size, keys-lo)
		block := t.kv.K[t.kv.at(s.Table[lo/size], head):]
		for r := range rows {
			g.Sgemv(blas.NoTrans, n, d, 1, block, d, w.q[r*d:], 1, 0, w.scores[r*keys+lo:], 1)
		}
	}
	t.mask(w, rows, keys, group)
	clear(w.o)
	for lo := 0; lo < keys; lo += size {
		n := min(size, keys-lo)
		block := t.kv.V[t.kv.at(s.Table[lo/size], head):]
		for r := range rows {
			g.Sgemv(blas.Trans, n, d, 1, block, d, w.scores[r*keys+lo:], 1, 1, w.o[r*d:], 1)
		}
	}
}
