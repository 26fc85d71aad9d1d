package cpu

import (
	"context"

	"orrery/calibrate"
	"orrery/hwmodel"
	"orrery/infer"
)

// iterations are whole steps of the model: decodes at contexts, chunks of prompts after
// contexts, and both together.
func (b *bench) iterations(quick bool) ([]*point, error) {
	var points []*point
	for _, it := range iterationPlan(quick) {
		if it.tokens() > b.o.kvTokens() {
			continue
		}
		if err := it.hold(b.model); err != nil { // now rather than while it is timed
			return nil, err
		}
		points = append(points, b.iteration(it))
	}
	return points, nil
}

// kvBlocks returns how many KV blocks the iterations of up to the given number of tokens
// take, if every slot keeps those of its longest context.
func kvBlocks(plan []iteration, tokens int) int {
	var longest []int // by slot
	for _, it := range plan {
		if it.tokens() > tokens {
			continue
		}
		for i := range it.slots() {
			if i == len(longest) {
				longest = append(longest, 0)
			}
			longest[i] = max(longest[i], it.cached(i)+it.computed(i))
		}
	}
	blocks := 0
	for _, n := range longest {
		blocks += (n + blockTokens - 1) / blockTokens
	}
	return blocks
}

// iteration is a batch of some decodes, all at one context (the new token included), and
// chunks, all of one length after one context.
type iteration struct {
	decodes, context      int
	chunks, chunk, before int
	sample                bool // the chunks are last ones
}

func iterationPlan(quick bool) []iteration {
	var plan []iteration
	for _, n := range ladder(quick, []int{1, 2, 3, 4, 6, 8, 12, 16}, []int{1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 28, 32}) {
		for _, context := range ladder(quick, []int{32, 384}, []int{16, 128, 512, 2048}) {
			plan = append(plan, iteration{decodes: n, context: context})
		}
	}
	for i, chunk := range ladder(quick, []int{8, 32, 64, 128, 256}, []int{4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512}) {
		for _, before := range ladder(quick, []int{0, 384}, []int{0, 256, 1024}) {
			plan = append(plan, iteration{chunks: 1, chunk: chunk, before: before, sample: i%2 == 0})
		}
	}
	for i, chunk := range ladder(quick, []int{16, 64}, []int{16, 32, 64, 128, 256}) {
		for _, n := range ladder(quick, []int{1, 4, 15}, []int{1, 4, 12, 31}) {
			plan = append(plan, iteration{decodes: n, context: 256, chunks: 1, chunk: chunk, sample: i%2 == 1})
		}
		plan = append(plan, iteration{decodes: 2, context: 128, chunks: 3, chunk: chunk, before: 64, sample: true})
	}
	return plan
}

// tokens returns how many tokens the slots hold after the iteration.
func (it *iteration) tokens() int {
	return it.decodes*it.context + it.chunks*(it.before+it.chunk)
}

// hold makes slots of m hold what the iteration finds. Decodes are in the first slots, so
// that iterations share their memory.
func (it *iteration) hold(m *infer.Model) error {
	for i := range it.slots() {
		if err := m.Resize(i, it.cached(i)); err != nil {
			return err
		}
	}
	return nil
}

func (it *iteration) slots() int { return it.decodes + it.chunks }

// cached returns the tokens that slot i holds before the iteration.
func (it *iteration) cached(i int) int {
	if i < it.decodes {
		return it.context - 1
	}
	return it.before
}

// computed returns the tokens that slot i computes.
func (it *iteration) computed(i int) int {
	if i < it.decodes {
		return 1
	}
	return it.chunk
}

// parts returns what the slots compute.
func (it *iteration) parts(vocab int) []infer.Part {
	tokens := make([]int32, max(1, it.chunk))
	for i := range tokens {
		tokens[i] = int32(i % vocab)
	}
	var parts []infer.Part
	for i := range it.decodes {
		parts = append(parts, infer.Part{Slot: i, Tokens: tokens[:1], Sample: true})
	}
	for i := range it.chunks {
		parts = append(parts, infer.Part{Slot: it.decodes + i, Tokens: tokens[:it.chunk], Sample: it.sample})
	}
	return parts
}

// batch returns the sums that a cost model sees of the iteration.
func (it *iteration) batch() hwmodel.Batch {
	b := hwmodel.Batch{Decodes: it.decodes, DecodeContext: int64(it.decodes) * int64(it.context), Logits: it.decodes}
	for range it.chunks {
		b.AddChunk(it.chunk, int64(it.before))
		if it.sample {
			b.Logits++
		}
	}
	return b
}

func (b *bench) iteration(it iteration) *point {
	parts := it.parts(b.o.Model.Vocab)
	ctx := context.Background()
	return &point{
		run: func() error {
			if err := it.hold(b.model); err != nil {
				return err
			}
			_, err := b.model.Step(ctx, parts)
			return err
		},
		record: func(m *calibrate.Measured, seconds float64) {
			m.Iterations = append(m.Iterations, calibrate.IterationSample{
				Batch: it.batch(), Seconds: seconds, GPU: GPU, Model: b.o.ModelName, Engine: Source, Tensor: 1, Source: Source,
			})
		},
	}
}
