package llm

import (
	"math"

	"orrery/hwmodel"
)

// Effort is an [hwmodel.Effort] of a text model on one kind of device: FLOPs of
// projections, experts and attention over the peak of the format, and bytes of weights and
// KV cache over the peak bandwidth. Activations count for nothing: they are small beside
// weights, and mostly stay in L2. So do collectives, which move them.
//
// All figures are device-seconds of the whole replica at the device's peaks.
type Effort struct {
	weights float64 // of an iteration, to read what every token uses
	head    float64 // of an iteration that samples, to read the LM head
	experts float64 // to read all experts
	miss    float64 // logarithm of the chance that a token leaves an expert alone
	context float64 // of a token of KV cache, to read or write it
	token   float64 // to compute a token, attention apart
	pair    float64 // to compute a query-key pair
	logit   float64 // to compute what a sequence samples from
	window  int64   // tokens that a query looks back at most
}

// allTokens is further than any sequence looks back, times any number of sequences.
const allTokens = 1 << 40

// NewEffort returns the effort of m on devices d. How it is split over them changes who
// does the work, not how much there is.
func NewEffort(m *Model, d *hwmodel.Device) *Effort {
	kvBytes := m.KVBytes
	if kvBytes == 0 {
		kvBytes = 2
	}
	read := float64(m.WeightBytes) / d.DRAMBytes
	multiply := 2 / d.FLOPs(weightFormat(d, m.WeightBytes))
	layers := float64(m.Layers)
	head := float64(m.Vocab) * float64(m.Hidden)
	used := layers * float64(m.layerParams(1, 0))
	e := &Effort{
		head: head * 2 / d.DRAMBytes, logit: head * 2 / d.FLOPs("bf16"),
		weights: used * read, token: layers * float64(m.layerParams(1, m.ExpertsPerToken)) * multiply,
		context: layers * float64(2*m.KVWidth()*kvBytes) / d.DRAMBytes,
		pair:    layers * float64(4*m.QueryWidth()) / d.FLOPs("bf16"), window: allTokens,
	}
	if m.Experts > 0 {
		if m.ExpertBits > 0 {
			read = m.ExpertBits / 8 / d.DRAMBytes
		}
		e.experts = layers * float64(m.layerParams(1, m.Experts)-m.layerParams(1, 0)) * read
		e.miss = math.Log1p(-float64(m.ExpertsPerToken) / float64(m.Experts))
	}
	if m.SlidingWindow > 0 {
		e.window = int64(m.SlidingWindow)
	}
	return e
}

// Exert returns the device-seconds that the FLOPs and bytes of b take at the peaks. Tokens
// draw their experts evenly, and those that no token draws are not read.
func (e *Effort) Exert(b *hwmodel.Batch) (compute, memory float64) {
	tokens := float64(b.Tokens())
	if tokens == 0 {
		return 0, 0
	}
	decodes := float64(min(b.DecodeContext, e.window*int64(b.Decodes)))
	compute = float64(e.token*tokens) + float64(e.logit*float64(b.Logits)) + float64(e.pair*(decodes+float64(b.ChunkPairs)))
	memory = e.weights + float64(e.context*(decodes+float64(b.ChunkContext)+tokens))
	if b.Logits > 0 {
		memory += e.head
	}
	if e.experts > 0 {
		memory -= float64(e.experts * math.Expm1(float64(e.miss*tokens)))
	}
	return compute, memory
}
