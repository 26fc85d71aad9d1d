package kernels

import (
	"encoding/binary"
	"fmt"
	"math"

	"orrery/calibrate/cuda/device"
)

// Constants of the attention kernels.
const (
	BlockTokens = 16 // of a KV block

	tileKeys     = 64  // of a tile of prefill
	warpQueries  = 16  // of prefill
	mostWarps    = 8   // of a block of prefill
	decodeBlock  = 128 // threads
	decodeWaves  = 4   // blocks of decode for each SM, so that loads are always on their way
	shortestSpan = 128 // keys of a split
)

// Heads is the attention heads of one device.
type Heads struct{ Query, KV, Dim int }

// Sequence is one sequence of a batch: the first of its rows, how many new tokens it
// has, how many keys it sees with them, and where its blocks begin in the table.
type Sequence struct{ Row, Queries, Keys, Table int }

// SequenceBytes is the size of a sequence as the kernels read it.
const SequenceBytes = 16

// Append appends s as the kernels read it.
func (s *Sequence) Append(data []byte) []byte {
	for _, x := range []int{s.Row, s.Queries, s.Keys, s.Table} {
		data = binary.LittleEndian.AppendUint32(data, uint32(x))
	}
	return data
}

// Attention is a call of attention over a paged KV cache, for a batch of sequences.
type Attention struct {
	DType string
	Heads Heads
	SMs   int // of the device, by which work is cut

	Batch           int // sequences
	Longest         int // the most keys of a sequence (Decode), the most queries (Prefill)
	QStride, Stride int // numbers from row to row of Q and of Out
	Causal          bool

	// Q and Out have rows of heads, K and V are caches, Table is the block numbers, and
	// Sequences the sequences. Partials has PartialBytes bytes for Decode.
	Out, Q, K, V, Table, Sequences, Partials device.Ptr
}

// together returns how many query heads of a KV head a block of decode takes.
func (a *Attention) together() int {
	group := a.Heads.Query / a.Heads.KV
	switch {
	case a.DType == "fp32": // the one instance there is
		return 4
	case group == 1:
		return 1
	case group <= 4:
		return 4
	}
	return 8
}

// split returns how many keys a block of decode takes, how many such spans the longest
// sequence has, and how many blocks a span has for one sequence.
func (a *Attention) split() (span, spans, blocks int) {
	group, together := a.Heads.Query/a.Heads.KV, a.together()
	blocks = a.Heads.KV * ((group + together - 1) / together)
	want := max(1, decodeWaves*a.SMs/max(1, blocks*a.Batch))
	const grain = 4 * BlockTokens
	span = max(shortestSpan, (ceilDiv(max(1, a.Longest), want)+grain-1)/grain*grain)
	return span, max(1, ceilDiv(a.Longest, span)), blocks
}

// PartialBytes returns the memory that Decode needs for the parts of split sequences.
func (a *Attention) PartialBytes() int64 {
	_, spans, _ := a.split()
	return int64(4 * a.Batch * a.Heads.Query * spans * (a.Heads.Dim + 2))
}

func (a *Attention) scale() device.Arg {
	return device.Float(float32(1 / math.Sqrt(float64(a.Heads.Dim))))
}

// Decode launches attention of one query a sequence: one kernel, and another if keys
// are split.
func (a *Attention) Decode(dev device.Device) error {
	h, format := a.Heads, Format(a.DType)
	span, spans, blocks := a.split()
	if err := dev.Launch(&device.Launch{
		Kernel: fmt.Sprintf("decode_%s_%d_%d", format, h.Dim, a.together()), Grid: [3]int{spans, blocks, a.Batch}, Block: [3]int{decodeBlock},
		Args: []device.Arg{device.Address(a.Out), device.Address(a.Partials), device.Address(a.Q), device.Address(a.K), device.Address(a.V), device.Address(a.Table), device.Address(a.Sequences),
			device.Int(h.Query), device.Int(h.KV), device.Int(span), device.Int(a.QStride), device.Int(a.Stride), a.scale()},
	}); err != nil || spans == 1 {
		return err
	}
	return dev.Launch(&device.Launch{
		Kernel: "decode_combine_" + format, Grid: [3]int{h.Query, a.Batch}, Block: [3]int{h.Dim},
		Args: []device.Arg{device.Address(a.Out), device.Address(a.Partials), device.Address(a.Sequences), device.Int(spans), device.Int(a.Stride)},
	})
}

// Prefill launches attention of any number of queries a sequence.
func (a *Attention) Prefill(dev device.Device) error {
	h, warps, causal := a.Heads, a.warps(), 0
	if a.Causal {
		causal = 1
	}
	const stages, operands, width = 2, 2, 2
	return dev.Launch(&device.Launch{
		Kernel: fmt.Sprintf("prefill_%s_%d", Format(a.DType), h.Dim), Grid: [3]int{ceilDiv(a.Longest, warps*warpQueries), h.Query, a.Batch}, Block: [3]int{32 * warps},
		Shared: stages * operands * tileKeys * h.Dim * width,
		Args: []device.Arg{device.Address(a.Out), device.Address(a.Q), device.Address(a.K), device.Address(a.V), device.Address(a.Table), device.Address(a.Sequences),
			device.Int(h.KV), device.Int(a.QStride), device.Int(a.Stride), device.Int(causal), a.scale()},
	})
}

// warps returns the warps of a block of prefill: as many as share a tile of keys without
// leaving SMs idle.
func (a *Attention) warps() int {
	warps := min(mostWarps, ceilDiv(a.Longest, warpQueries))
	for warps > 4 && ceilDiv(a.Longest, warps*warpQueries)*a.Heads.Query*a.Batch < a.SMs {
		warps /= 2
	}
	return warps
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
