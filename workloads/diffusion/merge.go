package diffusion

import (
	"fmt"
	"strings"
)

// TokenMerge merges a share of the tokens, those most alike, for self-attention in the
// transformers at full size, and gives each its result (Bolya and Hoffman 2023, tomesd with
// its own settings: attention only, downsampling of 1).
type TokenMerge struct{ Ratio float64 }

// String returns the method as [ParseMethod] reads it.
func (m TokenMerge) String() string { return fmt.Sprintf("tome:%g", m.Ratio) }

// Changes implements [Changes].
func (m TokenMerge) Changes() string { return m.String() }

// Rewrite implements [Rewrite].
func (m TokenMerge) Rewrite(j *Job, stages []Stage) ([]Stage, error) {
	// A quarter of the tokens are those that others are merged into.
	if !(m.Ratio > 0 && m.Ratio <= 0.75) {
		return nil, fmt.Errorf("tome of %g of the tokens: want a share above 0, up to 0.75", m.Ratio)
	}
	out := make([]Stage, len(stages))
	made := map[*Graph]*Graph{}
	for i, s := range stages {
		out[i] = s
		if s.Phase != Denoise {
			continue
		}
		if made[s.Graph] == nil {
			at := fullSize(s.Graph)
			if len(at) == 0 {
				return nil, fmt.Errorf("tome: %s has no transformer over positions of an image that it could merge", s.Network)
			}
			made[s.Graph] = m.merged(s.Graph, at)
		}
		out[i].Graph = made[s.Graph]
	}
	return out, nil
}

const (
	selfAttention = "/attn1/"
	query         = "/attn1/to_q"
)

// fullSize returns the scopes of self-attention over the most tokens of a UNet.
func fullSize(g *Graph) map[string]bool {
	most := 0
	at := map[string]bool{}
	for _, i := range opsOf(g, func(name string) bool {
		// A UNet's transformers stand on its way down or up; others have one size.
		return strings.HasSuffix(name, query) && (strings.HasPrefix(name, "down") || strings.HasPrefix(name, "up"))
	}) {
		tokens := g.Tensors[g.Ops[i].Reads[0]]
		n := tokens.H * tokens.W
		if n > most {
			most = n
			clear(at)
		}
		if n == most {
			at[strings.TrimSuffix(g.Ops[i].Name, query)+selfAttention] = true
		}
	}
	return at
}

// merged returns g with tokens merged around the attentions in the scopes at.
func (m TokenMerge) merged(g *Graph, at map[string]bool) *Graph {
	w := &stepWriter{Graph: Graph{Name: g.Name, Tensors: append([]Tensor(nil), g.Tensors...), Outputs: g.Outputs, Weights: g.Weights}}
	w.Inputs = append(w.Inputs, g.Inputs...)
	open, merged, n := "", TensorID(0), 0
	for i, op := range g.Ops {
		op.Free = nil
		scope := ""
		if k := strings.LastIndex(op.Name, selfAttention); k >= 0 && at[op.Name[:k+len(selfAttention)]] {
			scope = op.Name[:k+len(selfAttention)]
		}
		if scope == "" {
			w.Ops = append(w.Ops, op)
			continue
		}
		if scope != open {
			t := g.Tensors[op.Reads[0]]
			open, merged, n = scope, m.match(w, scope, op.Reads[0]), t.H*t.W
		}
		m.shrink(w, g, op, merged, n)
		if last := i+1 == len(g.Ops) || !strings.HasPrefix(g.Ops[i+1].Name, scope); last {
			m.unmerge(w, g, scope)
			open = ""
		}
	}
	return w.done()
}

// match appends what finds the tokens to merge and merges them, and returns the tokens
// that are left.
func (m TokenMerge) match(w *stepWriter, scope string, x TensorID) TensorID {
	t := w.Tensors[x]
	n := t.H * t.W
	dst := max(n/4, 1)
	src := n - dst
	norm := w.op(scope+"match/norm", "norm", t, x)
	unit := w.op(scope+"match/unit", "div", t, x, norm)
	scores := w.tensor(scope+"match/scores", Tensor{N: t.N, C: dst, H: src, W: 1, Width: t.Width})
	w.Ops = append(w.Ops, Op{
		Name: scope + "match/scores", Kind: Linear, Linear: Product{M: int64(src) * int64(t.N), K: int64(t.C), N: int64(dst)},
		MACs:  int64(src) * int64(t.N) * int64(t.C) * int64(dst),
		Reads: []TensorID{unit}, Writes: []TensorID{scores},
		Moved: w.Tensors[unit].Bytes() + w.Tensors[scores].Bytes(), Kernels: 1,
	})
	best := w.op(scope+"match/max", "max", Tensor{N: t.N, C: 1, H: src, W: 1, Width: 8}, scores)
	order := w.op(scope+"match/sort", "sort", Tensor{N: t.N, C: 1, H: src, W: 1, Width: 8}, best)
	// Random targets, and the indices of both halves: kernels on a few numbers a token.
	w.Ops[len(w.Ops)-1].Kernels += 12
	return w.op(scope+"merge", "scatter", m.left(t, n), x, order)
}

// left returns the shape of a tensor of attention when each side of n tokens has lost
// those that were merged.
func (m TokenMerge) left(t Tensor, n int) Tensor {
	left := n - int(float64(n)*m.Ratio)
	if t.H != n && t.H*t.W == n {
		t.H, t.W = left, 1
	}
	if t.H == n {
		t.H = left
	}
	if t.W == n {
		t.W = left
	}
	return t
}

// shrink appends an operator of attention over the tokens that are left of n.
func (m TokenMerge) shrink(w *stepWriter, g *Graph, op Op, merged TensorID, n int) {
	keep := float64(m.left(Tensor{H: n}, n).H) / float64(n)
	macs := float64(op.MACs) * keep
	if op.Kind == Attention {
		macs *= keep
		op.Attend.Keys = thinned(op.Attend.Keys, keep)
	}
	op.MACs = int64(macs)
	op.Linear.M = thinned(op.Linear.M, keep)
	op.Attend.Queries = thinned(op.Attend.Queries, keep)
	op.Rows = thinned(op.Rows, keep)
	out := op.Writes[0]
	w.Tensors[out] = m.left(g.Tensors[out], n)
	switch op.Name[strings.LastIndex(op.Name, "/")+1:] {
	case "to_q", "to_k", "to_v":
		op.Reads = []TensorID{merged}
	}
	op.Moved = g.weightsOf(op.Params) + w.Tensors[out].Bytes()
	for _, r := range op.Reads {
		op.Moved += w.Tensors[r].Bytes()
	}
	w.Ops = append(w.Ops, op)
}

// unmerge appends the copy of what was written last to all tokens that were merged.
func (m TokenMerge) unmerge(w *stepWriter, g *Graph, scope string) {
	last := &w.Ops[len(w.Ops)-1]
	all := last.Writes[0]
	part := w.tensor(scope+"part", w.Tensors[all])
	last.Writes = []TensorID{part}
	w.Tensors[all] = g.Tensors[all]
	w.into(scope+"unmerge", "scatter", all, part)
	w.Ops[len(w.Ops)-1].Kernels = 4 // zeros, and a scatter for each kind of token
}
