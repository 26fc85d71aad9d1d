package infer

import (
	"math"

	"orrery/infer/kernel"
)

// Model is a transformer with its KV memory. It belongs to one goroutine.
type Model struct {
	cfg    Config
	k      *kernel.Set
	embed  []float32 // Vocab×Hidden; the logits share it
	layers []layer
	norm   []float32 // gains of the norm before the logits
	memory memory
	rope   kernel.RoPE
	act    activations

	spans []kernel.Span
	seqs  []*sequence // of the parts, in order
	next  []int32
}

// layer is the weights of one layer, each projection a matrix of outputs×inputs, and
// its KV memory.
type layer struct {
	attentionNorm, mlpNorm []float32
	qkv                    []float32 // (query + key + value heads)×Hidden
	out                    []float32 // Hidden×query heads
	gateUp                 []float32 // 2*Intermediate×Hidden
	down                   []float32 // Hidden×Intermediate
	kv                     kernel.KV
}

// New returns a model with random weights, the same for the same shape and seed.
func New(c Config) (*Model, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	k, err := kernel.New(c.BLAS, c.Threads)
	if err != nil {
		return nil, err
	}
	m := &Model{cfg: c, k: k, memory: newMemory(c.BlockTokens, c.Blocks)}
	w := weights{seed: c.Seed}
	m.embed = w.matrix(c.Vocab, c.Hidden)
	m.norm = ones(c.Hidden)
	m.layers = make([]layer, c.Layers)
	for i := range m.layers {
		m.layers[i] = layer{
			attentionNorm: ones(c.Hidden), mlpNorm: ones(c.Hidden),
			qkv:    w.matrix(c.qkvWidth(), c.Hidden),
			out:    w.matrix(c.Hidden, c.queryWidth()),
			gateUp: w.matrix(2*c.Intermediate, c.Hidden),
			down:   w.matrix(c.Hidden, c.Intermediate),
			kv:     kernel.NewKV(c.KVHeads, c.HeadDim, c.BlockTokens, c.Blocks),
		}
	}
	return m, nil
}

// Config returns what the model was made of.
func (m *Model) Config() Config { return m.cfg }

// BLAS returns the BLAS that the model computes with, and its version if it has one.
func (m *Model) BLAS() string { return m.k.BLAS() }

// Threads returns the number of threads that the model computes on.
func (m *Model) Threads() int { return m.k.Threads() }

// weights draws matrices, each from a stream of its own.
type weights struct {
	seed     uint64
	matrices uint64
}

// matrix returns outputs×inputs weights, uniform with variance 1/inputs, so that outputs
// are of the size of the inputs.
func (w *weights) matrix(outputs, inputs int) []float32 {
	w.matrices++
	m := make([]float32, outputs*inputs)
	kernel.Randomize(m, float32(math.Sqrt(3/float64(inputs))), w.seed, w.matrices)
	return m
}

func ones(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 1
	}
	return x
}

// activations is the memory for the rows of a step.
type activations struct {
	x        []float32 // rows×Hidden, the residual stream
	h        []float32 // rows×Hidden, normed, and what a block adds to x
	qkv      []float32 // rows×(query + key + value heads)
	attended []float32 // rows×query heads
	gateUp   []float32 // rows×2*Intermediate
	gated    []float32 // rows×Intermediate
	logits   []float32 // sampled rows×Vocab
}

func (a *activations) grow(c *Config, rows, sampled int) {
	a.x = kernel.Grow(a.x, rows*c.Hidden)
	a.h = kernel.Grow(a.h, rows*c.Hidden)
	a.qkv = kernel.Grow(a.qkv, rows*c.qkvWidth())
	a.attended = kernel.Grow(a.attended, rows*c.queryWidth())
	a.gateUp = kernel.Grow(a.gateUp, 2*rows*c.Intermediate)
	a.gated = kernel.Grow(a.gated, rows*c.Intermediate)
	a.logits = kernel.Grow(a.logits, sampled*c.Vocab)
}
