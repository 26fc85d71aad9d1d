package hwmodel

import "time"

// Batch is what one iteration of a text model asks of the hardware, as sums over
// its sequences, so that its size does not depend on the number of sequences. It
// is the part of a batch that decides its time.
//
// A chunk of c prompt tokens on top of h tokens already in the KV cache reads h+c
// tokens of KV and computes c*h + c*(c+1)/2 query-key pairs. A decode of a
// sequence with h tokens in the cache (the new one included) reads h.
type Batch struct {
	Decodes       int   // sequences that decode one token
	DecodeContext int64 // sum of their contexts h in tokens, the new token included

	Chunks         int   // prompt chunks
	ChunkTokens    int   // sum of their lengths c
	ChunkContext   int64 // sum of the tokens h in the cache before each chunk
	ChunkContext64 int64 // the same, each h rounded up to a multiple of 64 (Vidur's tables)
	ChunkPairs     int64 // sum of c*h + c*(c+1)/2, query-key pairs under the causal mask
	ChunkSquares   int64 // sum of c*c (Vidur's tables)

	Logits int // sequences whose next token is sampled: decodes and last chunks

	SwapBytes int64 // KV bytes of the whole model moved between device and host memory
}

// Tokens returns the number of tokens in the batch: chunk tokens plus one for
// each decode.
func (b *Batch) Tokens() int { return b.ChunkTokens + b.Decodes }

// AddChunk adds a chunk of c prompt tokens on top of h cached tokens.
func (b *Batch) AddChunk(c int, h int64) {
	b.Chunks++
	b.ChunkTokens += c
	b.ChunkContext += h
	b.ChunkContext64 += (h + 63) &^ 63
	b.ChunkPairs += int64(c)*h + int64(c)*int64(c+1)/2
	b.ChunkSquares += int64(c) * int64(c)
}

// CostModel says how long an iteration takes. Times are per pipeline stage; a
// model without pipeline parallelism has one stage. Implementations are
// deterministic and return the same time for the same batch. They belong to one
// goroutine, since they may memoise.
type CostModel interface {
	// Stages returns the number of pipeline stages.
	Stages() int
	// Stage returns how long stage s computes b, collectives within the stage
	// included.
	Stage(s int, b *Batch) time.Duration
	// Send returns how long it takes to hand b's activations from one stage
	// to the next.
	Send(b *Batch) time.Duration
	// Host returns how long the host is busy with the iteration (schedule,
	// prepare inputs, sample, process outputs). Overlapped tells whether the host
	// works while the devices compute, so that the longer of the two counts,
	// rather than their sum.
	Host(b *Batch) (d time.Duration, overlapped bool)
}
