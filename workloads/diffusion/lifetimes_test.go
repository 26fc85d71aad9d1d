package diffusion

import "testing"

// TestEveryTensorLivesFromItsWriteToItsLastUse is the law of all graphs: what is read has
// been written and not been freed, and what is written is freed once or is an output.
func TestEveryTensorLivesFromItsWriteToItsLastUse(t *testing.T) {
	for _, name := range Names() {
		for _, c := range []Call{{}, {Scores: true}, {Batch: 3, Passes: 1, DType: "fp32"}} {
			checkLifetimes(t, graphOf(t, name, c))
		}
	}
}

// peak returns the most bytes that are alive during an operator, its reads and writes
// included, and the operator's name.
func peak(g *Graph) (most int64, at string) {
	var live int64
	for _, t := range g.Inputs {
		live += g.Tensors[t].Bytes()
	}
	for i := range g.Ops {
		op := &g.Ops[i]
		for _, t := range op.Writes {
			live += g.Tensors[t].Bytes()
		}
		if live > most {
			most, at = live, op.Name
		}
		for _, t := range op.Free {
			live -= g.Tensors[t].Bytes()
		}
	}
	return most, at
}

// TestPeaksAreWhatTheFramesHold derives by hand what is alive at the widest operator, in
// tensors of the level's width.
func TestPeaksAreWhatTheFramesHold(t *testing.T) {
	const unit = 2 * 64 * 64 * 320 * 2 // guidance, latent, channels, bytes
	small := int64(unit) / 10          // embeddings, text and latent
	for _, c := range []struct {
		network string
		call    Call
		at      string
		bytes   int64
	}{
		// Skip tensors 1 (the level's own three, one tuple until the network returns), the
		// level's input of 2 channels' width (640 channels at full size after upsampling);
		// residual, block input, sum of the attentions, last attention, norm, and the
		// feed-forward: 8 for the projection, 4 for the gate, 4 for the product.
		{"sd15_unet", Call{}, "up3/attn0/block0/ff/mul", unit * (3 + 2 + 5 + 16)},
		// Scores of 8 heads and as many probabilities; copies of queries, keys and values,
		// norm, block input, residual, over the same base.
		{"sd15_unet", Call{Scores: true}, "up3/attn0/block0/attn1/softmax", unit*(3+2+6) + 2*2*8*4096*4096*2},
	} {
		bytes, at := peak(graphOf(t, c.network, c.call))
		if at != c.at || bytes < c.bytes || bytes > c.bytes+small {
			t.Errorf("%s %+v: %d bytes at %s (%.2f units), want %d at %s", c.network, c.call, bytes, at, float64(bytes)/unit, c.bytes, c.at)
		}
	}
}

// TestTheDecodersPeakIsItsLastLevel has 128 channels at full size as the unit. All of the
// last level runs beside its input of 256 channels, which the decoder's own variable names.
func TestTheDecodersPeakIsItsLastLevel(t *testing.T) {
	const unit = 128 * 576 * 1024 * 2
	for _, c := range []struct {
		network string
		at      string
		units   int64
	}{
		// The input, its norm and its activation, each of 256 channels.
		{"vae_kl_f8_decoder", "up3/res0/silu1", 2 + 2 + 2},
		// The level's input; the block's, both results, both shares of the blend, their sum.
		{"svd_temporal_decoder", "up3/res1/mix", 14 * (2 + 1 + 2 + 2 + 1)},
	} {
		bytes, at := peak(graphOf(t, c.network, Call{Height: 576, Width: 1024}))
		if at != c.at || bytes < c.units*unit || bytes > c.units*unit+unit/10 {
			t.Errorf("%s: %.3f units at %s, want %d at %s", c.network, float64(bytes)/unit, at, c.units, c.at)
		}
	}
}

// BenchmarkGraph is the time to build a call's graph: 50 ms would be too long.
func BenchmarkGraph(b *testing.B) {
	for _, name := range []string{"sd15_unet", "sdxl_unet", "svd_xt_unet", "vae_kl_f8_decoder"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				graphOf(b, name, Call{})
			}
		})
	}
}
