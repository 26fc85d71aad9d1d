package kernel

import "math"

// ropeBase is the base of the wavelengths in Llama.
const ropeBase = 10000

// Angles works out the angles for the rows of a step, which do not depend on the layer.
func (r *RoPE) Angles(spans []Span, rows, headDim int) {
	if 2*r.half != headDim {
		r.half = headDim / 2
		r.frequencies = make([]float64, r.half)
		for i := range r.frequencies {
			r.frequencies[i] = math.Pow(ropeBase, -float64(2*i)/float64(headDim))
		}
	}
	r.sin, r.cos = Grow(r.sin, rows*r.half), Grow(r.cos, rows*r.half)
	for i := range spans {
		s := &spans[i]
		for t := range s.Tokens {
			at := (s.Row + t) * r.half
			for j, f := range r.frequencies {
				sin, cos := math.Sincos(float64(s.Before+t) * f)
				r.sin[at+j], r.cos[at+j] = float32(sin), float32(cos)
			}
		}
	}
}

// rotate turns a head of a row in place. Its numbers i and i+half are a pair, as in
// the Llama weights of Hugging Face.
func (r *RoPE) rotate(x []float32, row int) {
	sin, cos := r.sin[row*r.half:(row+1)*r.half], r.cos[row*r.half:(row+1)*r.half]
	lo, hi := x[:r.half], x[r.half:2*r.half]
	for i := range lo {
		a, b := lo[i], hi[i]
		lo[i] = float32(a*cos[i]) - float32(b*sin[i])
		hi[i] = float32(b*cos[i]) + float32(a*sin[i])
	}
}

// Store rotates the queries and keys of the spans' rows in place and puts keys and values
// into KV memory. A row of qkv is the heads query heads, then the key heads, then the
// value heads.
func (s *Set) Store(qkv []float32, heads int, kv *KV, rope *RoPE, spans []Span) {
	s.rope = ropeTask{qkv: qkv, heads: heads, kv: kv, rope: rope, spans: spans, cuts: s.rope.cuts[:0]}
	t := &s.rope
	_, size := pieces(1, 1)
	size = max(1, size/(2*(heads+2*kv.Heads)*kv.HeadDim))
	for i := range spans {
		for lo := 0; lo < spans[i].Tokens; lo += size {
			t.cuts = append(t.cuts, cut{span: i, lo: lo, hi: min(lo+size, spans[i].Tokens)})
		}
	}
	s.each(len(t.cuts), t)
}

// cut is some of the tokens of a span.
type cut struct{ span, lo, hi int }

type ropeTask struct {
	qkv   []float32
	heads int
	kv    *KV
	rope  *RoPE
	spans []Span
	cuts  []cut
}

func (t *ropeTask) do(_ *worker, item int) {
	c := t.cuts[item]
	s := &t.spans[c.span]
	d, kv := t.kv.HeadDim, t.kv
	width := (t.heads + 2*kv.Heads) * d
	for i := c.lo; i < c.hi; i++ {
		row := t.qkv[(s.Row+i)*width : (s.Row+i+1)*width]
		for h := range t.heads + kv.Heads {
			t.rope.rotate(row[h*d:(h+1)*d], s.Row+i)
		}
		pos := s.Before + i
		block, within := s.Table[pos/kv.BlockTokens], pos%kv.BlockTokens*d
		keys, values := row[t.heads*d:(t.heads+kv.Heads)*d], row[(t.heads+kv.Heads)*d:]
		for h := range kv.Heads {
			at := kv.at(block, h) + within
			copy(kv.K[at:at+d], keys[h*d:])
			copy(kv.V[at:at+d], values[h*d:])
		}
	}
}
