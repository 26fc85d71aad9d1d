package training

import (
	"fmt"
	"slices"
	"strings"

	"orrery/workloads/llm"
	"orrery/workloads/net"
)

// decoder is a language model in training on sequences of one length.
type decoder struct {
	m         *llm.Model
	length    int  // tokens of a sample
	positions bool // each position has a learned vector
	rank      int  // of the adapters beside every projection that alone are trained, 0 for none
}

// mpt are the shapes of MosaicML's pre-trained transformers, by size: layers, width, heads
// (llm-foundry, scripts/train/yamls/pretrain/mpt-*.yaml). Embeddings are tied to the head, every
// projection has a bias, positions are learned.
var mpt = map[string][3]int{
	"mpt-125m": {12, 768, 12}, "mpt-350m": {24, 1024, 16}, "mpt-760m": {24, 1536, 12}, "mpt-1b": {24, 2048, 16}, "mpt-3b": {32, 2560, 32},
	"mpt-7b": {32, 4096, 32}, "mpt-13b": {40, 5120, 40}, "mpt-30b": {48, 7168, 56}, "mpt-70b": {80, 8192, 64},
}

// decoderNames returns the names of the language models, in order.
func decoderNames() []string {
	out := llm.Names()
	for name := range mpt {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// loadDecoder returns a language model by name on sequences of the given length, 0 for 2048
// or the longest that it was made for. ok tells whether there is one of that name.
func loadDecoder(name string, length int) (d *decoder, ok bool, err error) {
	d = &decoder{length: length}
	if s, mosaic := mpt[name]; mosaic {
		d.positions = true
		d.m = &llm.Model{
			Name: name, Layers: s[0], Hidden: s[1], Heads: s[2], KVHeads: s[2], HeadDim: s[1] / s[2], Intermediate: 4 * s[1], Vocab: 50368,
			NormsPerLayer: 2, NormBias: true, QKVBias: true, OutBias: true, MLPBias: true, TiedEmbedding: true, WeightBytes: 2, KVBytes: 2,
		}
	} else if slices.Contains(llm.Names(), name) {
		if d.m, err = llm.Load(name); err != nil {
			return nil, true, err
		}
	} else {
		return nil, false, nil
	}
	if d.length == 0 {
		d.length = 2048
		if d.m.MaxLen > 0 {
			d.length = min(d.length, d.m.MaxLen)
		}
	}
	if d.length < 1 || d.length > 1<<22 {
		return nil, true, fmt.Errorf("sequences of %d tokens; want 1 or more", length)
	}
	return d, true, nil
}

// network returns what is trained, with its adapters.
func (s *Setup) network() (Network, error) {
	d, ok, err := loadDecoder(s.Network, s.Sequence)
	switch {
	case err != nil:
		return nil, err
	case ok:
		d.rank = s.LoRA
		return d, nil
	}
	n, err := LoadNetwork(s.Network)
	if err != nil {
		return nil, err
	}
	if a, ok := n.(adaptable); ok && s.LoRA > 0 {
		return a.Adapted(s.LoRA), nil
	}
	if s.LoRA > 0 {
		return nil, fmt.Errorf("%s has no adapters; language models have: %s", s.Network, strings.Join(decoderNames(), ", "))
	}
	return n, nil
}

// adaptable is a network that can be trained by adapters.
type adaptable interface{ Adapted(rank int) Network }

// projection is a matrix of a layer: tokens times in features to out features, count of them.
type projection struct{ in, out, count int }

// projections returns those of a layer, in the order of the forward pass: queries, keys and
// values in one, the attention's output, and the MLP's up (with its gate) and down.
func (d *decoder) projections() (qkv, out, up, down projection) {
	m := d.m
	wide, experts := m.Intermediate, max(m.Experts, 1)
	if m.Gated {
		wide *= 2
	}
	return projection{m.Hidden, m.QueryWidth() + 2*m.KVWidth(), 1}, projection{m.QueryWidth(), m.Hidden, 1},
		projection{m.Hidden, wide, experts}, projection{m.Intermediate, m.Hidden, experts}
}

// Params implements [Network].
func (d *decoder) Params() int64 {
	n := d.m.Params()
	if d.positions {
		n += int64(d.length) * int64(d.m.Hidden)
	}
	return n + d.adapters()
}

// adapters returns the parameters of all adapters: two matrices of the rank for each projection
// (Hu and others, "LoRA", 2021).
func (d *decoder) adapters() int64 {
	qkv, out, up, down := d.projections()
	var sum int64
	for _, p := range []projection{qkv, out, up, down} {
		sum += int64(p.count) * int64(d.rank) * int64(p.in+p.out)
	}
	return sum * int64(d.m.Layers)
}

// Trained returns the parameters that the optimiser changes.
func (d *decoder) Trained() int64 {
	if d.rank > 0 {
		return d.adapters()
	}
	return d.Params()
}

// Tensors implements [Network]: weights and biases of four projections and two norms a
// layer, the embedding and the last norm.
func (d *decoder) Tensors() int {
	if d.rank > 0 {
		return 8 * d.m.Layers
	}
	return 12*d.m.Layers + 4
}

// Kept implements [Network]. A layer keeps the inputs of its norms and projections, queries,
// keys and values, and what its activation reads; its attention, being fused, no scores:
// 32 bytes a token and channel in 16 bits with an MLP four times as wide, as Korthikanti
// and others have it ("Reducing Activation Recomputation", 2022: 34, of which 2 are
// masks of dropout). The loss keeps its scores in 32 bits.
func (d *decoder) Kept(width float64) float64 {
	return float64(d.length) * (float64(d.m.Layers)*d.keptOfLayer()*width + 4*float64(d.m.Vocab))
}

// keptOfLayer returns the numbers that a layer keeps of each token.
func (d *decoder) keptOfLayer() float64 {
	m := d.m
	active := max(m.ExpertsPerToken, 1)
	mlp := 2 * active * m.Intermediate // input and output of the activation
	if m.Gated {
		mlp += active * m.Intermediate
	}
	return float64(4*m.Hidden + m.QueryWidth() + 2*m.KVWidth() + m.QueryWidth() + mlp)
}

// Checkpointed returns the bytes of activations of a sample if only the inputs of layers are
// kept, and the one layer that is computed again.
func (d *decoder) Checkpointed(width float64) float64 {
	inputs := float64(d.m.Layers) * float64(d.m.Hidden)
	return float64(d.length) * (width*(inputs+d.keptOfLayer()) + 4*float64(d.m.Vocab))
}

// Train implements [Network].
func (d *decoder) Train(batch int) (forward, backward []net.Op) {
	l := operators{tokens: float64(batch) * float64(d.length)}
	hidden := float64(d.m.Hidden)
	l.stream("add", l.tokens*hidden, 2, 1) // embeddings
	for range d.m.Layers {
		d.layer(&l, batch)
	}
	vocab := float64(d.m.Vocab)
	l.rows("layernorm", hidden)
	l.gemm(1, l.tokens, vocab, hidden)
	l.rows("softmax", vocab) // the loss
	forward, l.ops = l.ops, nil
	l.stream("add", l.tokens*vocab, 1, 1)
	d.headBack(&l, vocab, hidden)
	for range d.m.Layers {
		d.layerBack(&l, batch)
	}
	if d.rank == 0 {
		l.stream("add", l.tokens*hidden, 1, 3) // gradients of embeddings are added to their rows
	}
	return forward, l.ops
}

func (d *decoder) headBack(l *operators, vocab, hidden float64) {
	l.gemm(1, l.tokens, hidden, vocab)
	if d.rank == 0 {
		l.gemm(1, hidden, vocab, l.tokens)
	}
	l.stream("mul", l.tokens*hidden, 4, 1)
}

// Gradients returns the gradients in the order in which the backward pass completes them: those of each
// layer, the last first, and of the embedding with the head that it is tied to.
func (d *decoder) Gradients() []net.Gradient {
	head := operators{tokens: 1}
	head.stream("add", 1, 1, 1)
	d.headBack(&head, 1, 1)
	at := len(head.ops)
	var out []net.Gradient
	layer := operators{tokens: 1}
	d.layerBack(&layer, 1)
	rest := d.Trained()
	for range d.m.Layers {
		at += len(layer.ops)
		out = append(out, net.Gradient{Params: d.layerTrained(), After: at})
		rest -= d.layerTrained()
	}
	if rest > 0 {
		out = append(out, net.Gradient{Params: rest, After: at + 1})
	}
	return out
}

// layerTrained returns the parameters of a layer that the optimiser changes.
func (d *decoder) layerTrained() int64 {
	if d.rank > 0 {
		return d.adapters() / int64(d.m.Layers)
	}
	one, none := *d.m, *d.m
	one.Layers, none.Layers = 2, 1
	return one.Params() - none.Params()
}

// layer adds the forward pass of a layer.
func (d *decoder) layer(l *operators, batch int) {
	m := d.m
	qkv, out, up, down := d.projections()
	hidden := float64(m.Hidden)
	l.rows("layernorm", hidden)
	d.project(l, qkv)
	if !d.positions {
		l.stream("mul", l.tokens*float64(m.QueryWidth()+m.KVWidth()), 1, 1) // rotation
	}
	l.add("attention", "fwd", float64(batch), float64(m.Heads), float64(m.KVHeads), float64(m.HeadDim), float64(d.length))
	d.project(l, out)
	l.stream("add", l.tokens*hidden, 2, 1)
	l.rows("layernorm", hidden)
	d.project(l, up)
	l.stream("gelu", l.tokens*float64(max(m.ExpertsPerToken, 1)*m.Intermediate), float64(up.out/m.Intermediate), 1)
	d.project(l, down)
	l.stream("add", l.tokens*hidden, 2, 1)
}

// layerBack adds the backward pass of a layer.
func (d *decoder) layerBack(l *operators, batch int) {
	m := d.m
	qkv, out, up, down := d.projections()
	hidden, wide := float64(m.Hidden), float64(up.out/m.Intermediate)
	d.projectBack(l, down)
	l.stream("gelu", l.tokens*float64(max(m.ExpertsPerToken, 1)*m.Intermediate), 1+wide, wide)
	d.projectBack(l, up)
	l.stream("mul", l.tokens*hidden, 4, 1) // norm
	l.stream("add", l.tokens*hidden, 2, 1)
	d.projectBack(l, out)
	l.add("attention", "bwd", float64(batch), float64(m.Heads), float64(m.KVHeads), float64(m.HeadDim), float64(d.length))
	if !d.positions {
		l.stream("mul", l.tokens*float64(m.QueryWidth()+m.KVWidth()), 1, 1)
	}
	d.projectBack(l, qkv)
	l.stream("mul", l.tokens*hidden, 4, 1)
	l.stream("add", l.tokens*hidden, 2, 1)
}

// rowsOf returns how many tokens each of the matrices of a projection sees.
func (d *decoder) rowsOf(l *operators, p projection) float64 {
	if p.count == 1 {
		return l.tokens
	}
	return max(1, l.tokens*float64(d.m.ExpertsPerToken)/float64(p.count))
}

func (d *decoder) project(l *operators, p projection) {
	rows, in, out, count := d.rowsOf(l, p), float64(p.in), float64(p.out), p.count
	l.gemm(count, rows, out, in)
	if d.rank > 0 {
		r := float64(d.rank)
		l.gemm(count, rows, r, in)
		l.gemm(count, rows, out, r)
		l.stream("add", float64(count)*rows*out, 2, 1)
	}
}

// projectBack adds the gradients of a projection's input and of its weights, or of its
// adapter's instead.
func (d *decoder) projectBack(l *operators, p projection) {
	rows, in, out, count := d.rowsOf(l, p), float64(p.in), float64(p.out), p.count
	l.gemm(count, rows, in, out)
	if d.rank == 0 {
		l.gemm(count, in, out, rows)
		return
	}
	r := float64(d.rank)
	l.gemm(count, rows, r, out)
	l.gemm(count, r, out, rows)
	l.gemm(count, rows, in, r)
	l.gemm(count, in, r, rows)
	l.stream("add", float64(count)*rows*in, 2, 1)
}

// operators collects those of a pass over so many tokens.
type operators struct {
	ops    []net.Op
	tokens float64
}

func (l *operators) add(table, word string, sizes ...float64) {
	op := net.Op{Table: table, Word: word}
	copy(op.Sizes[:], sizes)
	l.ops = append(l.ops, op)
}

func (l *operators) stream(fn string, elems, reads, writes float64) {
	l.add("elementwise", fn, elems, reads, writes)
}

func (l *operators) rows(fn string, cols float64) { l.add("rownorm", fn, l.tokens, cols) }

// gemm adds count products of m x k by k x n, one after another.
func (l *operators) gemm(count int, m, n, k float64) {
	l.add("gemm", "", 1, m, n, k)
	l.ops[len(l.ops)-1].Count = count
}
