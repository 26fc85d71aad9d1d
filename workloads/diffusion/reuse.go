package diffusion

import (
	"fmt"
	"math"
	"regexp"
)

// Reuse lets steps of a transformer take over the features of the step before, whole or
// but for a part of the tokens. Where a method decides by what it sees in the network,
// Skip says how many steps it skips.
type Reuse struct {
	Method   string  // for messages
	Interval int     // every Interval-th step is full; 0: Skip says
	Skip     float64 // share of the steps that are cached, spread evenly; the first never is
	Tokens   float64 // share of the tokens that a cached step computes, where Layers is set
	// Layers says that features are kept layer by layer (FORA, ToCa): at a cached step each
	// is gated and added. Otherwise it is one sum of all layers (TeaCache, first-block cache).
	Layers bool
	First  bool // a cached step runs the first layer, by which it was decided (first-block cache)
}

// String names the method, and what it does to the steps.
func (r Reuse) String() string {
	text := fmt.Sprintf("%s of %.2g of the steps", r.Method, r.Skip)
	if r.Interval > 0 {
		text = fmt.Sprintf("%s:%d", r.Method, r.Interval)
	}
	if r.Tokens > 0 {
		text += fmt.Sprintf(",%g", r.Tokens)
	}
	return text
}

// Rewrite implements [Rewrite].
func (r Reuse) Rewrite(j *Job, stages []Stage) ([]Stage, error) {
	switch {
	case r.Interval < 0 || r.Interval == 0 && !(r.Skip >= 0 && r.Skip < 1):
		return nil, fmt.Errorf("%s with interval %d and %g of the steps skipped: want an interval from 1, or a share from 0, below 1", r.Method, r.Interval, r.Skip)
	case !(r.Tokens >= 0 && r.Tokens < 1) || r.Tokens > 0 && !r.Layers:
		return nil, fmt.Errorf("%s with %g of the tokens: want a share from 0, below 1", r.Method, r.Tokens)
	}
	return everyStep(stages, func(s *Stage) (full, cached *Graph, err error) {
		layers := layersOf(s.Graph)
		if len(layers) == 0 {
			return nil, nil, fmt.Errorf("%s: %s is no transformer of layers, want deepcache for a UNet", r.Method, s.Network)
		}
		if !r.Layers {
			return s.Graph, r.summed(s.Graph, layers), nil
		}
		answers := answersOf(s.Graph)
		if r.Tokens > 0 {
			return s.Graph.also(answers...), s.Graph.thinned(layers, answers, r.Tokens), nil
		}
		return s.Graph.also(answers...), s.Graph.cut(answers...), nil
	}, r.skips)
}

// skips says whether a step is cached.
func (r Reuse) skips(step int) bool {
	if r.Interval > 0 {
		return step%r.Interval != 0
	}
	return step > 0 && math.Floor(float64(float64(step+1)*r.Skip)) > math.Floor(float64(float64(step)*r.Skip))
}

// layer is the operators of one layer of a transformer.
type layer struct{ first, last int }

var layerName = regexp.MustCompile(`^(block|double|single)\d+/`)

// layersOf returns the layers of a transformer in order; none of other networks.
func layersOf(g *Graph) []layer {
	var list []layer
	name := ""
	for i := range g.Ops {
		at := layerName.FindString(g.Ops[i].Name)
		if at != "" && at != name {
			list = append(list, layer{i, i})
		}
		if at != "" {
			list[len(list)-1].last = i
		}
		name = at
	}
	return list
}

var answerName = regexp.MustCompile(`^(block|double|single)\d+/(attn\d?/to_(add_)?out|ff\w*/fc2|proj_out)$`)

// answersOf returns what the attentions and feed-forwards of a transformer's layers answer,
// before it is gated and added.
func answersOf(g *Graph) []TensorID {
	var list []TensorID
	for _, i := range opsOf(g, answerName.MatchString) {
		list = append(list, g.Ops[i].Writes[0])
	}
	return list
}

// summed returns the graph of a step that adds one kept tensor, the sum of what all layers
// did, to what comes into them, or to what the first of them makes of it.
func (r Reuse) summed(g *Graph, layers []layer) *Graph {
	sum := g.Ops[layers[len(layers)-1].last].Writes[0]
	there := make([]bool, len(g.Tensors))
	there[sum] = true
	runs := g.needs(g.Outputs, there)
	from, at := g.Inputs[0], 0
	if r.First {
		from, at = g.Ops[layers[0].last].Writes[0], layers[0].last+1
		for i, needed := range g.needs([]TensorID{from}, make([]bool, len(g.Tensors))) {
			runs[i] = runs[i] || needed
		}
	}
	w := &stepWriter{Graph: Graph{Name: g.Name, Tensors: append([]Tensor(nil), g.Tensors...), Outputs: g.Outputs}}
	w.Inputs = append(w.Inputs, g.Inputs...)
	kept := w.input("kept", g.Tensors[sum])
	for i, op := range g.Ops {
		if i == at {
			w.into("reuse/sum", "add", sum, from, kept)
		}
		if runs[i] {
			op.Free = nil
			w.Ops = append(w.Ops, op)
		}
	}
	w.Weights = g.weightsOf(w.Params())
	return w.done()
}

// thinned returns the graph of a step that computes a share of the tokens in its layers,
// and puts them in their places among the kept answers of all others.
func (g *Graph) thinned(layers []layer, answers []TensorID, share float64) *Graph {
	there := make([]bool, len(g.Tensors))
	for _, t := range answers {
		there[t] = true
	}
	rest := g.needs(g.Outputs, there) // these see all tokens
	w := &stepWriter{Graph: Graph{Name: g.Name, Tensors: append([]Tensor(nil), g.Tensors...), Outputs: g.Outputs, Weights: g.Weights}}
	w.Inputs = append(w.Inputs, g.Inputs...)
	for i, op := range g.Ops {
		op.Free = nil
		if rest[i] || i < layers[0].first || i > layers[len(layers)-1].last {
			w.Ops = append(w.Ops, op)
			continue
		}
		w.thin(op, g, there, share)
	}
	return w.done()
}

// thin appends an operator that computes a share of the tokens, and where it answers, the
// copy of that into the answers kept.
func (w *stepWriter) thin(op Op, g *Graph, there []bool, share float64) {
	all := op.Writes[0]
	op.MACs = int64(float64(op.MACs) * share)
	weights := g.weightsOf(op.Params)
	op.Moved = weights + int64(float64(op.Moved-weights)*share)
	op.Linear.M = thinned(op.Linear.M, share)
	op.Attend.Queries = thinned(op.Attend.Queries, share)
	op.Rows = thinned(op.Rows, share)
	w.Tensors[all].H = int(thinned(int64(w.Tensors[all].H), share))
	if there[all] {
		part := w.tensor(g.Tensors[all].Name+"/part", w.Tensors[all])
		w.Tensors[all] = g.Tensors[all]
		op.Writes = []TensorID{part}
		w.Ops = append(w.Ops, op)
		kept := w.input(g.Tensors[all].Name+"/kept", g.Tensors[all])
		w.into(g.Tensors[all].Name+"/scatter", "copy", all, part, kept)
		w.Ops[len(w.Ops)-1].Moved = 2 * w.Tensors[part].Bytes() // in place: the others are not touched
		return
	}
	w.Ops = append(w.Ops, op)
}

// thinned returns a share of n, one at least where there was any.
func thinned(n int64, share float64) int64 {
	if n == 0 {
		return 0
	}
	return max(1, int64(float64(n)*share))
}
