// Package gguf writes language models with random weights in the file format of
// llama.cpp, so that a real engine can be tested without any weights to fetch: random
// numbers cost the same arithmetic as trained ones.
//
// The format is GGUF version 3 (ggml-org/ggml, docs/gguf.md): little-endian, a header of
// named values, a table of tensors, and their data, each aligned to 32 bytes.
package gguf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"

	"orrery/sim"
)

// Model is the shape of a llama-like decoder: RMS norms, rotary positions, grouped-query
// attention, SwiGLU, and logits by the transposed embedding.
type Model struct {
	Layers, Hidden, Heads, KVHeads, Intermediate, Context int
	Seed                                                  uint64
}

// Parameters returns the number of weights.
func (m *Model) Parameters() int64 {
	var n int64
	for _, t := range m.tensors() {
		n += t.elements()
	}
	return n
}

// tensor is a matrix with its fastest dimension first, as the format has it, or a vector
// if rows is 0.
type tensor struct {
	name       string
	cols, rows int
}

func (t *tensor) elements() int64 { return int64(t.cols) * int64(max(t.rows, 1)) }

// tensors returns the weights in the order of the file.
func (m *Model) tensors() []tensor {
	kv := m.Hidden / m.Heads * m.KVHeads
	ts := []tensor{{"token_embd.weight", m.Hidden, len(vocabulary())}, {"output_norm.weight", m.Hidden, 0}}
	for i := range m.Layers {
		add := func(name string, cols, rows int) {
			ts = append(ts, tensor{fmt.Sprintf("blk.%d.%s.weight", i, name), cols, rows})
		}
		add("attn_norm", m.Hidden, 0)
		add("attn_q", m.Hidden, m.Hidden)
		add("attn_k", m.Hidden, kv)
		add("attn_v", m.Hidden, kv)
		add("attn_output", m.Hidden, m.Hidden)
		add("ffn_norm", m.Hidden, 0)
		add("ffn_gate", m.Hidden, m.Intermediate)
		add("ffn_up", m.Hidden, m.Intermediate)
		add("ffn_down", m.Intermediate, m.Hidden)
	}
	return ts
}

// Kinds of values, and of tensors, by the numbers of the format.
const (
	kindUint32  = 4
	kindInt32   = 5
	kindFloat32 = 6
	kindString  = 8
	kindArray   = 9

	tensorFloat32 = 0
	alignment     = 32
)

// Kinds of tokens.
const (
	normalToken  = 1
	unknownToken = 2
	controlToken = 3
	byteToken    = 6
)

// piece is an entry of the vocabulary.
type piece struct {
	text string
	kind int32
}

// vocabulary is the least that spells any text: three marks, all bytes, and the letters
// that words are made of, so that a word has a token for each letter and one for the space
// before it.
func vocabulary() []piece {
	v := []piece{{"<unk>", unknownToken}, {"<s>", controlToken}, {"</s>", controlToken}}
	for b := range 256 {
		v = append(v, piece{fmt.Sprintf("<0x%02X>", b), byteToken})
	}
	v = append(v, piece{"\u2581", normalToken}) // the space
	for c := 'a'; c <= 'z'; c++ {
		v = append(v, piece{string(c), normalToken})
	}
	return v
}

// Write writes the model.
func (m *Model) Write(to io.Writer) error {
	w := &writer{w: bufio.NewWriterSize(to, 1<<20)}
	tensors := m.tensors()
	values := m.values()
	w.bytes([]byte("GGUF"))
	w.uint32(3)
	w.uint64(uint64(len(tensors)))
	w.uint64(uint64(len(values)))
	for _, v := range values {
		w.string(v.key)
		v.write(w)
	}
	var offset int64
	for i := range tensors {
		t := &tensors[i]
		w.string(t.name)
		if t.rows == 0 {
			w.uint32(1)
			w.uint64(uint64(t.cols))
		} else {
			w.uint32(2)
			w.uint64(uint64(t.cols))
			w.uint64(uint64(t.rows))
		}
		w.uint32(tensorFloat32)
		w.uint64(uint64(offset))
		offset += aligned(4 * t.elements())
	}
	w.pad()
	rng := sim.Stream(m.Seed, "weights")
	for i := range tensors {
		w.weights(&tensors[i], rng)
		w.pad()
	}
	if w.err != nil {
		return w.err
	}
	return w.w.Flush()
}

// value is a named value of the header.
type value struct {
	key   string
	write func(*writer)
}

func (m *Model) values() []value {
	number := func(key string, v int) value {
		return value{key, func(w *writer) { w.uint32(kindUint32); w.uint32(uint32(v)) }}
	}
	text := func(key, v string) value {
		return value{key, func(w *writer) { w.uint32(kindString); w.string(v) }}
	}
	list := func(key string, kind uint32, each func(*writer, int, piece)) value {
		return value{key, func(w *writer) {
			v := vocabulary()
			w.uint32(kindArray)
			w.uint32(kind)
			w.uint64(uint64(len(v)))
			for i, p := range v {
				each(w, i, p)
			}
		}}
	}
	return []value{
		text("general.architecture", "llama"), text("general.name", "random"), number("general.file_type", 0),
		number("llama.context_length", m.Context), number("llama.embedding_length", m.Hidden), number("llama.block_count", m.Layers),
		number("llama.feed_forward_length", m.Intermediate), number("llama.attention.head_count", m.Heads),
		number("llama.attention.head_count_kv", m.KVHeads), number("llama.rope.dimension_count", m.Hidden/m.Heads),
		number("llama.vocab_size", len(vocabulary())),
		{"llama.attention.layer_norm_rms_epsilon", func(w *writer) { w.uint32(kindFloat32); w.float32(1e-5) }},
		text("tokenizer.ggml.model", "llama"),
		list("tokenizer.ggml.tokens", kindString, func(w *writer, _ int, p piece) { w.string(p.text) }),
		list("tokenizer.ggml.scores", kindFloat32, func(w *writer, i int, _ piece) { w.float32(-float32(i)) }),
		list("tokenizer.ggml.token_type", kindInt32, func(w *writer, _ int, p piece) { w.uint32(uint32(p.kind)) }),
		number("tokenizer.ggml.unknown_token_id", 0), number("tokenizer.ggml.bos_token_id", 1), number("tokenizer.ggml.eos_token_id", 2),
	}
}

// writer writes numbers and remembers the first error and the place.
type writer struct {
	w   *bufio.Writer
	n   int64
	buf [8]byte
	err error
}

func (w *writer) bytes(b []byte) {
	if w.err == nil {
		_, w.err = w.w.Write(b)
		w.n += int64(len(b))
	}
}

func (w *writer) uint32(v uint32)   { w.bytes(binary.LittleEndian.AppendUint32(w.buf[:0], v)) }
func (w *writer) uint64(v uint64)   { w.bytes(binary.LittleEndian.AppendUint64(w.buf[:0], v)) }
func (w *writer) float32(v float32) { w.uint32(math.Float32bits(v)) }

func (w *writer) string(s string) {
	w.uint64(uint64(len(s)))
	w.bytes([]byte(s))
}

func aligned(n int64) int64 { return (n + alignment - 1) / alignment * alignment }

func (w *writer) pad() { w.bytes(make([]byte, aligned(w.n)-w.n)) }

// weights writes a tensor: ones for norms, else normal draws small enough that
// activations keep their size from layer to layer.
func (w *writer) weights(t *tensor, rng *rand.Rand) {
	scale := 1 / math.Sqrt(float64(t.cols))
	for range t.elements() {
		if t.rows == 0 {
			w.float32(1)
		} else {
			w.float32(float32(scale * rng.NormFloat64()))
		}
	}
}
