package gguf

import (
	"bytes"
	"encoding/binary"
	"testing"
)

var tiny = Model{Layers: 2, Hidden: 64, Heads: 4, KVHeads: 2, Intermediate: 96, Context: 128, Seed: 7}

// reader reads what the format says, independently of the writer.
type reader struct {
	t *testing.T
	b []byte
	n int
}

func (r *reader) u32() uint32 {
	r.n += 4
	return binary.LittleEndian.Uint32(r.b[r.n-4:])
}

func (r *reader) u64() uint64 {
	r.n += 8
	return binary.LittleEndian.Uint64(r.b[r.n-8:])
}

func (r *reader) text() string {
	n := int(r.u64())
	r.n += n
	return string(r.b[r.n-n : r.n])
}

func (r *reader) skip(kind uint32) {
	switch kind {
	case kindUint32, kindInt32, kindFloat32:
		r.n += 4
	case kindString:
		r.text()
	case kindArray:
		of := r.u32()
		for range r.u64() {
			r.skip(of)
		}
	default:
		r.t.Fatalf("a value of kind %d at %d", kind, r.n)
	}
}

// A file holds as many values and tensors as it says, every tensor begins where the
// table says, aligned, and the last one ends with the file.
func TestFileIsWhatItSays(t *testing.T) {
	var b bytes.Buffer
	if err := tiny.Write(&b); err != nil {
		t.Fatal(err)
	}
	r := &reader{t: t, b: b.Bytes(), n: 4}
	if string(r.b[:4]) != "GGUF" || r.u32() != 3 {
		t.Fatal("no GGUF version 3")
	}
	tensors, values := r.u64(), r.u64()
	keys := map[string]bool{}
	for range values {
		keys[r.text()] = true
		r.skip(r.u32())
	}
	for _, k := range []string{"general.architecture", "llama.block_count", "tokenizer.ggml.tokens", "tokenizer.ggml.eos_token_id"} {
		if !keys[k] {
			t.Errorf("no value %s", k)
		}
	}
	var end, elements uint64
	for range tensors {
		name, n := r.text(), uint64(1)
		for range r.u32() {
			n *= r.u64()
		}
		if kind, at := r.u32(), r.u64(); kind != tensorFloat32 || at != end || at%alignment != 0 {
			t.Errorf("%s is of kind %d and begins at %d, want %d", name, kind, at, end)
		}
		end += uint64(aligned(int64(4 * n)))
		elements += n
	}
	if data := uint64(aligned(int64(r.n))); data+end != uint64(len(r.b)) {
		t.Errorf("the data begin at %d and have %d bytes, the file has %d", data, end, len(r.b))
	}
	if int64(elements) != tiny.Parameters() || tensors != 2+9*2 {
		t.Errorf("%d weights in %d tensors, want %d", elements, tensors, tiny.Parameters())
	}
}

// The same seed gives the same file, another seed another.
func TestFileFollowsFromTheSeed(t *testing.T) {
	var a, b, c bytes.Buffer
	other := tiny
	other.Seed++
	for m, w := range map[*Model]*bytes.Buffer{&tiny: &a, {2, 64, 4, 2, 96, 128, 7}: &b, &other: &c} {
		if err := m.Write(w); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) || bytes.Equal(a.Bytes(), c.Bytes()) {
		t.Error("files do not follow from the seed")
	}
}
