//go:build linux && (amd64 || arm64)

package decoder

import (
	"context"
	"errors"
	"math"
	"os"
	"strings"
	"sync"
	"testing"

	"orrery/calibrate/cuda/device"
	"orrery/calibrate/cuda/emulate"
	"orrery/calibrate/cuda/number"
	"orrery/infer"
)

// library is the kernels compiled for this machine's processor, once for all tests.
var library = sync.OnceValues(func() (*emulate.Library, error) {
	folder, err := os.MkdirTemp("", "orrery-kernels")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder) // a loaded library needs no file
	return emulate.Build(folder)
})

func newDevice(t *testing.T) *emulate.Device {
	t.Helper()
	l, err := library()
	var missing *device.Missing
	if errors.As(err, &missing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return emulate.New(l, device.Info{Name: "emulated", Major: 8, SMs: 4, Threads: 512, Shared: 96 << 10, Free: 64 << 20, Memory: 64 << 20, L2: 1 << 16})
}

func tiny(dtype string) Config {
	return Config{Layers: 2, Hidden: 64, Heads: 4, KVHeads: 2, HeadDim: 64, Intermediate: 96, Vocab: 80, DType: dtype, Blocks: 16, MaxTokens: 128, Seed: 7}
}

// Tokens are those that a plain reference chooses, whatever the chunks and whatever is
// in the batch beside a sequence.
func TestTokensAreTheReferences(t *testing.T) {
	dev := newDevice(t)
	for dtype, close := range map[string]float64{"fp16": 0.01, "bf16": 0.08} {
		m, err := New(dev, tiny(dtype))
		if err != nil {
			t.Fatal(err)
		}
		r := newReference(m.cfg)
		texts := map[int][]int32{3: tokens(37, 1), 0: tokens(20, 2), 9: tokens(5, 3)} // by slot
		cached := map[int]int{}
		part := func(slot, n int, sample bool) infer.Part {
			p := infer.Part{Slot: slot, Tokens: texts[slot][cached[slot] : cached[slot]+n], Sample: sample}
			cached[slot] += n
			return p
		}
		same, sampled := 0, 0
		for step := range 6 {
			var parts []infer.Part
			switch step {
			case 0:
				parts = append(parts, part(3, 16, false))
			case 1:
				parts = append(parts, part(3, 21, true), part(0, 20, true))
			case 2:
				parts = append(parts, part(9, 5, true), part(3, 1, true), part(0, 1, true))
			default:
				parts = append(parts, part(0, 1, true), part(9, 1, true), part(3, 1, true))
			}
			next, err := m.Step(context.Background(), parts)
			if err != nil {
				t.Fatal(err)
			}
			for i, p := range parts {
				if !p.Sample {
					continue
				}
				token := next[0]
				next = next[1:]
				logits := r.logits(texts[p.Slot])
				best := argmax(logits)
				if logits[token] < logits[best]-close {
					t.Errorf("%s, step %d, part %d: token %d has logit %.3f, the best one is %d with %.3f", dtype, step, i, token, logits[token], best, logits[best])
				}
				sampled++
				if int(token) == best {
					same++
				}
				texts[p.Slot] = append(texts[p.Slot], token)
			}
			if len(next) > 0 {
				t.Errorf("%d tokens too many", len(next))
			}
		}
		if same < sampled*3/4 {
			t.Errorf("%s: %d of %d tokens are the reference's", dtype, same, sampled)
		}
		for slot := range texts {
			m.Free(slot)
		}
		if m.FreeBlocks() != m.cfg.Blocks {
			t.Errorf("%d of %d blocks are free after all slots were freed", m.FreeBlocks(), m.cfg.Blocks)
		}
		if err := m.Close(); err != nil || dev.Left() > 0 {
			t.Errorf("Close: %v, %d allocations are left", err, dev.Left())
		}
	}
}

// A step that makes no sense changes nothing.
func TestStepRefuses(t *testing.T) {
	dev := newDevice(t)
	m, err := New(dev, tiny("fp16"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	for want, parts := range map[string][]infer.Part{
		"slot 1 has a part already":         {{Slot: 1, Tokens: tokens(2, 1)}, {Slot: 1, Tokens: tokens(2, 1)}},
		"token 80; want one from 0 to 79":   {{Slot: 1, Tokens: []int32{80}}},
		"has 0 tokens":                      {{Slot: 1}},
		"slot 2 would hold 129 tokens":      {{Slot: 2, Tokens: tokens(129, 1)}},
		"needs 24 more KV blocks, 16 of 16": {{Slot: 1, Tokens: tokens(128, 1)}, {Slot: 2, Tokens: tokens(128, 1)}, {Slot: 3, Tokens: tokens(128, 1)}},
	} {
		if _, err := m.Step(context.Background(), parts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
	if m.FreeBlocks() != m.cfg.Blocks {
		t.Errorf("%d of %d blocks are free", m.FreeBlocks(), m.cfg.Blocks)
	}
	if _, err := m.Step(canceled, []infer.Part{{Slot: 1, Tokens: tokens(3, 1)}}); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want the context's", err)
	}
	if q := m.memory.slots[1]; q.cached != 0 {
		t.Errorf("slot 1 holds %d tokens after a step that was cut off", q.cached)
	}
}

// A worker answers as its model does, from any goroutine, and gives everything back.
func TestWorker(t *testing.T) {
	dev := newDevice(t)
	m, err := New(dev, tiny("fp16"))
	if err != nil {
		t.Fatal(err)
	}
	parts := []infer.Part{{Slot: 4, Tokens: tokens(9, 5), Sample: true}}
	want, err := m.Step(context.Background(), parts)
	if err := errors.Join(err, m.Close()); err != nil {
		t.Fatal(err)
	}
	closed := 0
	open := func() (device.Device, func() error, error) {
		return dev, func() error { closed++; return nil }, nil
	}
	w, err := Start(open, tiny("fp16"))
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for slot := range 3 {
		wait.Go(func() {
			next, err := w.Step(context.Background(), []infer.Part{{Slot: slot, Tokens: parts[0].Tokens, Sample: true}})
			if err != nil || len(next) != 1 || next[0] != want[0] {
				t.Errorf("slot %d: tokens %v, error %v; want %v", slot, next, err, want)
			}
			w.Free(slot)
		})
	}
	wait.Wait()
	if err := w.Close(); err != nil || closed != 1 || dev.Left() > 0 {
		t.Errorf("Close: %v; the device was closed %d times, %d allocations are left", err, closed, dev.Left())
	}
	if _, err := Start(open, Config{}); err == nil || closed != 2 {
		t.Errorf("a worker without a model: error %v, closed %d times; want an error, and twice", err, closed)
	}
}

func tokens(n int, seed uint32) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32((number.Random("fp32", seed, int64(i)) + 1) * 39.5)
	}
	return out
}

func argmax(x []float64) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}

// reference is the model by its definition, in 64 bits, one sequence at a time.
type reference struct {
	Config
	embed  [][]float64
	layers []referenceLayer
}

type referenceLayer struct{ qkv, out, gateUp, down [][]float64 }

func newReference(c Config) *reference {
	seeds := 0
	matrix := func(outputs, inputs int) [][]float64 {
		seeds++
		seed := c.Seed + number.Seed(seeds)
		m := make([][]float64, outputs)
		for i := range m {
			m[i] = make([]float64, inputs)
			for j := range m[i] {
				m[i][j] = number.Round(c.DType, float64(weightLimit(inputs)*float32(number.Random("fp32", seed, int64(i*inputs+j)))))
			}
		}
		return m
	}
	r := &reference{Config: c, embed: matrix(c.Vocab, c.Hidden)}
	for range c.Layers {
		r.layers = append(r.layers, referenceLayer{
			qkv: matrix(c.qkvWidth(), c.Hidden), out: matrix(c.Hidden, c.queryWidth()), gateUp: matrix(2*c.Intermediate, c.Hidden), down: matrix(c.Hidden, c.Intermediate),
		})
	}
	return r
}

// logits returns the logits after the last token.
func (r *reference) logits(text []int32) []float64 {
	x := make([][]float64, len(text))
	for i, t := range text {
		x[i] = append([]float64(nil), r.embed[t]...)
	}
	for i := range r.layers {
		r.layer(&r.layers[i], x)
	}
	return times(r.embed, normed(x[len(x)-1]))
}

func (r *reference) layer(l *referenceLayer, x [][]float64) {
	d, group := r.HeadDim, r.Heads/r.KVHeads
	qkv := make([][]float64, len(x))
	for i := range x {
		qkv[i] = times(l.qkv, normed(x[i]))
		for h := range r.Heads + r.KVHeads {
			rotate(qkv[i][h*d:(h+1)*d], i)
		}
	}
	for i := range x {
		attended := make([]float64, r.queryWidth())
		for h := range r.Heads {
			key, value := (r.Heads+h/group)*d, (r.Heads+r.KVHeads+h/group)*d
			weights, sum := make([]float64, i+1), 0.0
			for t := range weights {
				s := 0.0
				for j := range d {
					s += qkv[i][h*d+j] * qkv[t][key+j]
				}
				weights[t] = math.Exp(s / math.Sqrt(float64(d)))
				sum += weights[t]
			}
			for t, w := range weights {
				for j := range d {
					attended[h*d+j] += w / sum * qkv[t][value+j]
				}
			}
		}
		accumulate(x[i], times(l.out, attended))
	}
	for i := range x {
		up := times(l.gateUp, normed(x[i]))
		gated := make([]float64, r.Intermediate)
		for j := range gated {
			gated[j] = up[j] / (1 + math.Exp(-up[j])) * up[r.Intermediate+j]
		}
		accumulate(x[i], times(l.down, gated))
	}
}

func times(w [][]float64, x []float64) []float64 {
	y := make([]float64, len(w))
	for i, row := range w {
		for j, v := range row {
			y[i] += v * x[j]
		}
	}
	return y
}

func normed(x []float64) []float64 {
	squares := 0.0
	for _, v := range x {
		squares += v * v
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = v / math.Sqrt(squares/float64(len(x))+1e-5)
	}
	return y
}

// rotate turns pairs of a head by angles that grow with the position.
func rotate(x []float64, position int) {
	half := len(x) / 2
	for i := range half {
		s, c := math.Sincos(float64(position) * math.Pow(1e4, -2*float64(i)/float64(len(x))))
		x[i], x[i+half] = x[i]*c-x[i+half]*s, x[i+half]*c+x[i]*s
	}
}

func accumulate(x, y []float64) {
	for i, v := range y {
		x[i] += v
	}
}
