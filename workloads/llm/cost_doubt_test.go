package llm

import (
	"math"
	"testing"

	"orrery/hwmodel"
)

// The doubt of an iteration is that of its operators and its host, each by its share: with
// one operator alone it is that operator's, and it never exceeds the largest part.
func TestDoubtIsWeighedByTime(t *testing.T) {
	c := testCost(t, "llama-3.1-8b", Parallel{1, 1}, "a100-sxm-80gb", "ideal")
	fit, _ := c.product.Fit()
	was := *fit
	defer func() { *fit = was }()
	*fit = hwmodel.Fit{Spread: 0.04}
	c.move.norm = &hwmodel.Stream{Launch: 1e-12, DRAM: 1, L2: 1, Reach: 1}
	c.move.norm.Spread = 0.5
	attention := &hwmodel.Fit{Spread: 0.2}
	c.attention.prefillFit, c.attention.decodeFit, c.attention.mixedFit = attention, attention, attention

	var prompt hwmodel.Batch
	prompt.AddChunk(4096, 0)
	products := c.Doubt(&prompt) // products are most of it
	if products < 0.03 || products > 0.08 {
		t.Errorf("a prompt's doubt is %.3f, where products err by 0.04 and attention by 0.2", products)
	}
	far := decodes(64, 16000) // attention is most of it
	if d := c.Doubt(&far); d < 0.1 || d > 0.2 {
		t.Errorf("the doubt of decodes at long contexts is %.3f, where attention errs by 0.2", d)
	}
	if d := c.Doubt(&hwmodel.Batch{}); d != 0 {
		t.Errorf("an empty iteration's doubt is %g", d)
	}

	// An engine whose constants were fitted to whole iterations adds their spread.
	e := *c.engine
	e.Overlap = false
	e.Hosts = []hwmodel.Host{{Tensor: 1, Fixed: 1e-9, Fit: hwmodel.Fit{Spread: 0.03}}}
	if d, want := c.Hosted(&e).Doubt(&prompt), math.Hypot(products, 0.03); math.Abs(d-want) > 1e-4 {
		t.Errorf("with an engine that errs by 0.03 the doubt is %.4f, want %.4f", d, want)
	}
	// One whose host's parts were fitted counts by the host's share: here half.
	e.Hosts[0] = hwmodel.Host{Tensor: 1, Fixed: c.Stage(0, &prompt).Seconds(), Fit: hwmodel.Fit{HeldOutMedian: 0.1}}
	if d, want := c.Hosted(&e).Doubt(&prompt), math.Hypot(products/2, 0.05); math.Abs(d-want) > 2e-3 {
		t.Errorf("with a host that takes half the time and errs by 0.1 the doubt is %.4f, want %.4f", d, want)
	}
}
