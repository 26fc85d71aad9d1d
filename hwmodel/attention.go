package hwmodel

import "math"

// Attention holds the fitted constants of one attention backend on one device. The
// kernels belong to the serving engine as much as to the device: two backends
// differ by 20 % on the same call.
type Attention struct {
	Prefill PrefillKernel `toml:"prefill"`
	Decode  DecodeKernel  `toml:"decode"`
	// MHADecode is the kernel for models without grouped queries, where the
	// backend runs another one and it was measured.
	MHADecode *DecodeKernel `toml:"mha_decode,omitempty"`
}

// DecodeFor returns the decode kernel that serves h.
func (a *Attention) DecodeFor(h Heads) *DecodeKernel {
	if a.MHADecode != nil && h.Query == h.KV {
		return a.MHADecode
	}
	return &a.Decode
}

// Heads is the part of a model's attention that one device computes.
type Heads struct {
	Query   int // query heads
	KV      int // key/value heads
	Dim     int // elements a head
	KVBytes int // bytes of one element of the KV cache
}

// PrefillKernel is the kernel that attends from chunks of prompts. A block of the
// kernel walks over the keys of Rows queries of one head; each SM holds Resident
// blocks, and blocks run in waves. Where blocks are too few to fill the device,
// some backends split the keys among several blocks.
type PrefillKernel struct {
	Launch    float64 `toml:"launch"`    // seconds, start and end of the kernel
	Compute   float64 `toml:"compute"`   // share of peak tensor FLOP/s with all SMs busy
	Own       float64 `toml:"own"`       // cost of a pair within the chunk, in pairs with cached keys: 1 if masked tiles are skipped, 2 if computed, above if masking itself is slow
	Rows      float64 `toml:"rows"`      // queries of one block; a chunk is padded to a multiple of it
	Resident  float64 `toml:"resident"`  // blocks an SM holds at a time
	Wave      float64 `toml:"wave"`      // how much of a last, partial wave is paid: 1 all of it, 0 its share
	Fill      float64 `toml:"fill"`      // share of the device that splitting keys keeps busy at least
	Bandwidth float64 `toml:"bandwidth"` // share of DRAM bandwidth on keys and values
	Fit       `toml:"fit"`
}

// On returns the cost of the kernel for h on d.
func (p *PrefillKernel) On(d *Device, h Heads) PrefillCost {
	stream := 1 / (d.DRAMBytes * p.Bandwidth)
	return PrefillCost{
		launch: p.Launch, own: (p.Own - 1) / 2, rows: p.Rows,
		pair:  float64(4*h.Dim*h.Query) / (d.FLOPs("fp16") * p.Compute),
		block: float64(h.Query) / (float64(d.SMs) * p.Resident),
		wave:  p.Wave, fill: p.Fill,
		kv:    float64(2*h.KV*h.Dim*h.KVBytes) * stream,
		query: float64(4*h.Query*h.Dim) * stream,
	}
}

// PrefillCost is a [PrefillKernel] for one shape of heads on one device.
type PrefillCost struct {
	launch, own, rows float64
	pair              float64 // seconds a query-key pair of all heads, all SMs busy
	block             float64 // waves a block of queries
	wave, fill        float64
	kv, query         float64 // seconds a token of KV read, a token of the chunks
}

// Time returns the seconds that the chunks of b take in one layer. Their queries
// attend to the cached tokens before them and, under the causal mask, to one
// another; the keys of earlier chunks are read again. Only sums over the chunks are
// known, so that each is taken to have the mean length where it is cut into blocks.
func (p *PrefillCost) Time(b *Batch) float64 {
	if b.ChunkTokens == 0 {
		return 0
	}
	tokens, chunks := float64(b.ChunkTokens), float64(b.Chunks)
	// Of the pairs, half of each chunk's square lies within the chunk.
	pairs := float64(b.ChunkPairs) + float64(p.own*(float64(b.ChunkSquares)+tokens))
	blocks := math.Ceil(tokens/(chunks*p.rows)) * chunks
	waves := blocks * p.block
	paid := waves + float64(p.wave*(math.Ceil(waves)-waves))
	paid = min(paid, waves/p.fill)
	compute := p.pair * pairs * (blocks * p.rows / tokens) * (paid / waves)
	stream := float64(p.kv*(float64(b.ChunkContext)+tokens)) + float64(p.query*tokens)
	return p.launch + max(compute, stream)
}

// DecodeKernel is the kernel that attends from one query a sequence. Where the
// heads of a group share a tile (Rows is 0), reading the KV cache decides; a long
// context is split into parts so that few sequences still fill the device. A
// kernel that gives each query head a tile of its own is held up by the padding of
// those tiles instead.
type DecodeKernel struct {
	Launch    float64 `toml:"launch"`    // seconds, start and end of the kernel
	Bandwidth float64 `toml:"bandwidth"` // share of DRAM bandwidth on keys and values
	Tail      float64 `toml:"tail"`      // sequences' worth of time in which SMs have run dry
	Block     float64 `toml:"block"`     // seconds an SM spends on each sequence and KV head besides reading
	Rows      float64 `toml:"rows"`      // rows to which each query head is padded, 0 if heads of a group share a tile
	Compute   float64 `toml:"compute"`   // share of peak tensor FLOP/s on padded rows, if there are any
	Fit       `toml:"fit"`
}

// On returns the cost of the kernel for h on d.
func (k *DecodeKernel) On(d *Device, h Heads) DecodeCost {
	perToken := float64(2*h.KV*h.Dim*h.KVBytes) / d.DRAMBytes
	token := max(perToken/k.Bandwidth, float64(4*h.Dim*h.Query)/d.FLOPs("fp16"))
	if k.Rows > 0 {
		token = max(token, float64(4*h.Dim*h.Query)*k.Rows/(d.FLOPs("fp16")*k.Compute))
	}
	return DecodeCost{
		launch: k.Launch, token: token,
		tail:     k.Tail * perToken / float64(h.KV),
		sequence: k.Block * float64(h.KV) / float64(d.SMs),
		kv:       float64(h.KV), sms: float64(d.SMs),
	}
}

// DecodeCost is a [DecodeKernel] for one shape of heads on one device.
type DecodeCost struct {
	launch                float64 // seconds
	token, sequence, tail float64 // seconds a token of context, a sequence, a token of a block's mean context
	kv, sms               float64
}

// Time returns the seconds that n decodes with context tokens of KV in all take in
// one layer.
func (k *DecodeCost) Time(n int, context int64) float64 {
	if n == 0 {
		return 0
	}
	c, seqs := float64(context), float64(n)
	// The last sequences of a wave leave SMs idle. A context is split into parts
	// where SMs are free, which shortens that idle time in the same measure.
	idle := float64(k.tail * (c / seqs) * min(seqs*k.kv, k.sms))
	return k.launch + float64(k.token*c) + float64(k.sequence*seqs) + idle
}
