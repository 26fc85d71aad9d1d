package decoder

import (
	"errors"
	"fmt"
	"math"

	"orrery/calibrate/cuda/device"
	"orrery/calibrate/cuda/kernels"
	"orrery/calibrate/cuda/number"
)

// Config describes a model and its memory.
type Config struct {
	Layers, Hidden, Heads, KVHeads, HeadDim, Intermediate, Vocab int

	DType     string // of weights, activations and KV memory: "fp16" or "bf16"
	Blocks    int    // KV blocks of 16 tokens
	MaxTokens int    // of a sequence
	Seed      uint32 // of the weights
}

// Check returns an error unless a model can be made of c.
func (c *Config) Check() error {
	for _, f := range []struct {
		name     string
		value    int
		multiple int
	}{
		{"Layers", c.Layers, 1}, {"Hidden", c.Hidden, 8}, {"Heads", c.Heads, 1}, {"KVHeads", c.KVHeads, 1}, {"HeadDim", c.HeadDim, 64},
		{"Intermediate", c.Intermediate, 8}, {"Vocab", c.Vocab, 8}, {"Blocks", c.Blocks, 1}, {"MaxTokens", c.MaxTokens, 1},
	} {
		if f.value < 1 || f.value > 1<<24 || f.value%f.multiple != 0 {
			return fmt.Errorf("decoder: %s is %d; want a multiple of %d from %d to %d", f.name, f.value, f.multiple, f.multiple, 1<<24)
		}
	}
	switch {
	case c.HeadDim > 128:
		return fmt.Errorf("decoder: HeadDim is %d; want 64 or 128", c.HeadDim)
	case c.Heads%c.KVHeads != 0:
		return fmt.Errorf("decoder: Heads is %d and KVHeads %d; want Heads to be a multiple of KVHeads", c.Heads, c.KVHeads)
	case c.DType != "fp16" && c.DType != "bf16":
		return fmt.Errorf("decoder: DType is %q; want fp16 or bf16", c.DType)
	}
	return nil
}

func (c *Config) queryWidth() int { return c.Heads * c.HeadDim }
func (c *Config) qkvWidth() int   { return (c.Heads + 2*c.KVHeads) * c.HeadDim }

// layer is the weights of one layer, each projection a matrix of outputs×inputs, and
// its KV memory.
type layer struct {
	attentionNorm, mlpNorm device.Ptr
	qkv                    device.Ptr // (query + key + value heads)×Hidden
	out                    device.Ptr // Hidden×query heads
	gateUp                 device.Ptr // 2*Intermediate×Hidden
	down                   device.Ptr // Hidden×Intermediate
	keys, values           device.Ptr
}

// Model is a transformer on a device. It belongs to the goroutine that the device
// belongs to.
type Model struct {
	cfg    Config
	dev    device.Device
	owned  []device.Ptr // memory to give back
	embed  device.Ptr   // Vocab×Hidden; the logits share it
	norm   device.Ptr
	angles device.Ptr
	layers []layer
	memory memory
	act    activations
	seeds  uint32
}

// New returns a model with random weights, the same for the same shape and seed.
func New(dev device.Device, c Config) (*Model, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if err := dev.Lacks(device.Products, c.DType); err != nil {
		return nil, err
	}
	m := &Model{cfg: c, dev: dev, memory: newMemory(c.Blocks)}
	if err := m.fill(); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// fill makes weights, KV memory and the table of angles.
func (m *Model) fill() error {
	c := &m.cfg
	w := builder{m: m}
	m.embed = w.matrix(c.Vocab, c.Hidden)
	m.norm = w.ones(c.Hidden)
	cache := int64(c.Blocks) * kernels.BlockTokens * int64(c.KVHeads*c.HeadDim*number.Bytes(c.DType))
	for range c.Layers {
		m.layers = append(m.layers, layer{
			attentionNorm: w.ones(c.Hidden), mlpNorm: w.ones(c.Hidden),
			qkv: w.matrix(c.qkvWidth(), c.Hidden), out: w.matrix(c.Hidden, c.queryWidth()),
			gateUp: w.matrix(2*c.Intermediate, c.Hidden), down: w.matrix(c.Hidden, c.Intermediate),
			keys: w.alloc(cache), values: w.alloc(cache),
		})
	}
	m.angles = w.upload(kernels.Angles(c.MaxTokens, c.HeadDim))
	return w.err
}

// Close gives the memory back.
func (m *Model) Close() error {
	err := m.act.free(m.dev)
	for _, p := range m.owned {
		err = errors.Join(err, m.dev.Free(p))
	}
	m.owned = nil
	return err
}

// builder takes and fills memory until something fails.
type builder struct {
	m   *Model
	err error
}

func (b *builder) alloc(bytes int64) device.Ptr {
	if b.err != nil {
		return 0
	}
	p, err := b.m.dev.Alloc(bytes)
	if err != nil {
		b.err = fmt.Errorf("decoder: %d bytes for weights and KV memory: %w", bytes, err)
		return 0
	}
	b.m.owned = append(b.m.owned, p)
	return p
}

// matrix returns outputs×inputs weights, uniform with variance 1/inputs, so that outputs
// are of the size of the inputs.
func (b *builder) matrix(outputs, inputs int) device.Ptr {
	n := int64(outputs) * int64(inputs)
	p := b.alloc(n * int64(number.Bytes(b.m.cfg.DType)))
	b.m.seeds++
	if b.err == nil {
		b.err = b.m.launch("random_weights", [3]int{int(min(n/256+1, 1<<16))}, 256,
			device.Address(p), device.Int(n), device.Int(b.m.cfg.Seed+number.Seed(int(b.m.seeds))), device.Float(weightLimit(inputs)))
	}
	return p
}

func weightLimit(inputs int) float32 { return float32(math.Sqrt(3 / float64(inputs))) }

func (b *builder) ones(n int) device.Ptr {
	var data []byte
	for range n {
		data = number.Append(data, b.m.cfg.DType, 1)
	}
	return b.upload(data)
}

func (b *builder) upload(data []byte) device.Ptr {
	p := b.alloc(int64(len(data)))
	if b.err == nil {
		b.err = b.m.dev.Upload(p, data)
	}
	return p
}

// launch launches a kernel of the model's number format.
func (m *Model) launch(kernel string, grid [3]int, block int, args ...device.Arg) error {
	return m.dev.Launch(&device.Launch{Kernel: kernel + "_" + kernels.Format(m.cfg.DType), Grid: grid, Block: [3]int{block}, Args: args})
}
