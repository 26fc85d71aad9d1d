package infer

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"orrery/infer/kernel"
)

// tolerance is by how much a logit in float32 may be off. Logits here are a few units
// large, float32 has 24 bits, and sums of tens of terms through a few layers lose some
// of them. A winner by less than twice the tolerance among the reference's logits is
// a tie, in which either token is right.
const tolerance = 5e-4

// tiny draws the shape of a small model.
func tiny(t *rapid.T, blas string) Config {
	kvHeads := rapid.IntRange(1, 3).Draw(t, "kv heads")
	return Config{
		Layers: rapid.IntRange(1, 3).Draw(t, "layers"), Hidden: 4 * rapid.IntRange(2, 8).Draw(t, "hidden/4"),
		Heads: kvHeads * rapid.IntRange(1, 3).Draw(t, "group"), KVHeads: kvHeads, HeadDim: 4 * rapid.IntRange(1, 4).Draw(t, "head dim/4"),
		Intermediate: 4 * rapid.IntRange(1, 12).Draw(t, "intermediate/4"), Vocab: rapid.IntRange(2, 90).Draw(t, "vocab"),
		BlockTokens: rapid.IntRange(1, 9).Draw(t, "block tokens"), Blocks: 400,
		BLAS: blas, Threads: rapid.IntRange(1, 3).Draw(t, "threads"), Seed: rapid.Uint64().Draw(t, "seed"),
	}
}

func newModel(t interface{ Fatal(...any) }, c Config) *Model {
	m, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// request is a sequence of a test: a prompt and what was sampled after it.
type request struct {
	slot, prompt int
	tokens       []int32
	logits       [][]float32 // of each sampled token
}

// serve runs requests on m by a schedule that is drawn: chunks of any size, decodes,
// steps that pass some requests over, and pre-emptions, after which a request's
// tokens are computed anew.
func serve(t *rapid.T, m *Model, answers int) []*request {
	var all []*request
	for i := range rapid.IntRange(1, 4).Draw(t, "requests") {
		prompt := rapid.SliceOfN(rapid.Int32Range(0, int32(m.cfg.Vocab-1)), 1, 40).Draw(t, "prompt")
		all = append(all, &request{slot: 3 * i, prompt: len(prompt), tokens: prompt})
	}
	unfinished := func(r *request) bool { return len(r.tokens) < r.prompt+answers }
	for slices.ContainsFunc(all, unfinished) {
		var parts []Part
		var who []*request
		for _, r := range all {
			if rapid.IntRange(0, 19).Draw(t, "pre-empt") == 19 {
				m.Free(r.slot)
			}
			done := m.Cached(r.slot)
			left := len(r.tokens) - done
			n := min(left, rapid.SampledFrom([]int{99, 16, 7, 3, 2, 1, 0}).Draw(t, "chunk"))
			if unfinished(r) && n > 0 {
				parts = append(parts, Part{Slot: r.slot, Tokens: r.tokens[done : done+n], Sample: n == left})
				who = append(who, r)
			}
		}
		next, err := m.Step(context.Background(), parts)
		if err != nil {
			t.Fatal(err)
		}
		sampled := 0
		for i, r := range who {
			if parts[i].Sample {
				r.tokens = append(r.tokens, next[sampled])
				r.logits = append(r.logits, slices.Clone(m.act.logits[sampled*m.cfg.Vocab:(sampled+1)*m.cfg.Vocab]))
				sampled++
			}
		}
		if len(next) != sampled {
			t.Fatalf("%d tokens came for %d that were asked for", len(next), sampled)
		}
	}
	return all
}

// The greedy tokens of every request are those of the plain reference, whatever the
// chunks, the batches and the pre-emptions.
func TestGreedyTokensEqualThePlainReference(t *testing.T) {
	for _, blas := range installed(t) {
		t.Run(blas, func(t *testing.T) {
			ties, tokens := 0, 0
			rapid.Check(t, func(t *rapid.T) {
				m := newModel(t, tiny(t, blas))
				for _, r := range serve(t, m, 5) {
					for i, got := range r.logits {
						want := reference{m}.logits(r.tokens[:r.prompt+i])
						for j := range want {
							if !(math.Abs(float64(got[j])-want[j]) < tolerance) {
								t.Fatalf("logit %d after %d tokens is %g, the reference says %g", j, r.prompt+i, got[j], want[j])
							}
						}
						tokens++
						token := r.tokens[r.prompt+i]
						switch best := slices.Max(want); {
						case want[token] < best-2*tolerance:
							t.Fatalf("token %d came with logit %g; the reference has one with %g", token, want[token], best)
						case want[token] < best:
							ties++
						}
					}
				}
			})
			if ties*100 > tokens {
				t.Errorf("%d of %d tokens were ties; the test says little", ties, tokens)
			}
		})
	}
}

// With gonum's BLAS the logits are those of the request alone in one chunk, to the
// last bit.
func TestLogitsDoNotDependOnTheBatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := tiny(t, "gonum")
		mixed := serve(t, newModel(t, c), 4)
		c.Threads, c.BlockTokens = 1, 64
		alone := newModel(t, c)
		for _, r := range mixed {
			for i, want := range r.logits {
				alone.Free(0)
				if _, err := alone.Step(context.Background(), []Part{{Tokens: r.tokens[:r.prompt+i], Sample: true}}); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(alone.act.logits, want) {
					t.Fatalf("logits of slot %d after %d tokens depend on the batch", r.slot, r.prompt+i)
				}
			}
		}
	})
}

// installed returns the BLASes that can be tested here.
func installed(t *testing.T) []string {
	if _, err := kernel.New("openblas", 1); err != nil {
		t.Log("without OpenBLAS:", err)
		return []string{"gonum"}
	}
	return []string{"gonum", "openblas"}
}

// Answers depend on the prompt and on the seed: a model that always said the same
// would pass the tests above.
func TestAnswersDependOnPromptAndSeed(t *testing.T) {
	c := Orrery25M()
	c.Layers, c.BlockTokens, c.Blocks, c.BLAS = 2, 16, 64, "gonum"
	answer := func(c Config, prompt ...int32) int32 {
		next, err := newModel(t, c).Step(context.Background(), []Part{{Tokens: prompt, Sample: true}})
		if err != nil {
			t.Fatal(err)
		}
		return next[0]
	}
	first := answer(c, 1, 2, 3)
	if again := answer(c, 1, 2, 3); again != first {
		t.Errorf("the same model said %d, then %d", first, again)
	}
	if other := answer(c, 2, 1, 3); other == first {
		t.Errorf("two prompts with other tokens before the last were both answered %d", first)
	}
	c.Seed = 1
	if other := answer(c, 1, 2, 3); other == first {
		t.Errorf("two seeds both said %d", first)
	}
}

func TestStepAllocatesNothing(t *testing.T) {
	for _, blas := range installed(t) {
		m := newModel(t, Config{Layers: 2, Hidden: 64, Heads: 4, KVHeads: 2, HeadDim: 16, Intermediate: 128, Vocab: 256,
			BlockTokens: 16, Blocks: 64, BLAS: blas, Threads: 2})
		long := make([]int32, 100)
		parts := []Part{{Slot: 0, Tokens: long}, {Slot: 1, Tokens: long[:1], Sample: true}, {Slot: 2, Tokens: long[:1], Sample: true}}
		step := func() {
			if _, err := m.Step(context.Background(), parts); err != nil {
				t.Fatal(err)
			}
			m.Free(0)
			m.Free(1)
		}
		step()
		if n := testing.AllocsPerRun(20, step); n > 0 {
			t.Errorf("%s: a step allocates %g times", blas, n)
		}
	}
}

func TestBlocksAreAccountedFor(t *testing.T) {
	m := newModel(t, Config{Layers: 1, Hidden: 8, Heads: 1, KVHeads: 1, HeadDim: 8, Intermediate: 8, Vocab: 9, BlockTokens: 4, Blocks: 3, BLAS: "gonum"})
	ctx := context.Background()
	step := func(ctx context.Context, parts ...Part) error {
		_, err := m.Step(ctx, parts)
		return err
	}
	if err := step(ctx, Part{Slot: 7, Tokens: make([]int32, 4)}); err != nil || m.FreeBlocks() != 2 {
		t.Fatalf("a block of tokens left %d of 3 blocks free, error %v", m.FreeBlocks(), err)
	}
	if err := step(ctx, Part{Slot: 7, Tokens: make([]int32, 1)}, Part{Slot: 8, Tokens: make([]int32, 5)}); err == nil || m.FreeBlocks() != 2 {
		t.Fatalf("three blocks were given out of two: %d are left, error %v", m.FreeBlocks(), err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := step(cancelled, Part{Slot: 7, Tokens: make([]int32, 1)}); !errors.Is(err, context.Canceled) || m.Cached(7) != 4 {
		t.Errorf("a cancelled step left %d tokens in place of 4, error %v", m.Cached(7), err)
	}
	m.Free(7)
	m.Free(7)
	m.Free(1000)
	if m.FreeBlocks() != 3 || m.Cached(7) != 0 {
		t.Errorf("%d of 3 blocks are free and %d tokens held after all was freed", m.FreeBlocks(), m.Cached(7))
	}
}

// A slot can be taken back to an earlier length, or be given a context without computing it.
func TestResize(t *testing.T) {
	m := newModel(t, Config{Layers: 2, Hidden: 16, Heads: 2, KVHeads: 1, HeadDim: 8, Intermediate: 16, Vocab: 50, BlockTokens: 4, Blocks: 10, BLAS: "gonum"})
	logits := func(length int, token int32) []float32 {
		if err := m.Resize(0, length); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Step(context.Background(), []Part{{Tokens: []int32{token}, Sample: true}}); err != nil {
			t.Fatal(err)
		}
		if m.Cached(0) != length+1 {
			t.Fatalf("%d tokens and one more are %d", length, m.Cached(0))
		}
		return slices.Clone(m.act.logits)
	}
	first := logits(13, 7)
	if logits(13, 8); !slices.Equal(logits(13, 7), first) {
		t.Errorf("the same token after the same 13 others gave other logits")
	}
	if slices.Equal(logits(9, 7), first) {
		t.Errorf("13 tokens before and 9 gave the same logits")
	}
	if err := m.Resize(1, 25); err == nil || m.FreeBlocks() != 6 || m.Cached(1) != 0 {
		t.Errorf("25 tokens went into 6 blocks of 4: error %v, %d blocks free, %d tokens held", err, m.FreeBlocks(), m.Cached(1))
	}
	if err := m.Resize(0, -1); err == nil {
		t.Errorf("a slot took -1 tokens")
	}
	if m.Free(0); m.FreeBlocks() != 10 {
		t.Errorf("%d of 10 blocks are free after all was freed", m.FreeBlocks())
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	good := Config{Layers: 1, Hidden: 8, Heads: 2, KVHeads: 1, HeadDim: 4, Intermediate: 8, Vocab: 9, BlockTokens: 4, Blocks: 3, BLAS: "gonum"}
	for want, change := range map[string]func(*Config){
		"Layers is 0":           func(c *Config) { c.Layers = 0 },
		"multiple of 4":         func(c *Config) { c.HeadDim = 6 },
		"multiple of KVHeads":   func(c *Config) { c.Heads, c.KVHeads = 3, 2 },
		"at most 4.29e+09":      func(c *Config) { c.Hidden, c.Intermediate = 1<<20, 1<<20 },
		"KV blocks of 4 tokens": func(c *Config) { c.Blocks = 1 << 24; c.HeadDim = 64 },
		"threads is -1":         func(c *Config) { c.Threads = -1 },
		"did you mean gonum?":   func(c *Config) { c.BLAS = "gonumm" },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, must say %q", err, want)
		}
	}
	m := newModel(t, good)
	for want, parts := range map[string][]Part{
		"no tokens":        {{Slot: 1}},
		"want a slot":      {{Slot: -1, Tokens: []int32{1}}},
		"token 9":          {{Tokens: []int32{1, 9}}},
		"token -1":         {{Tokens: []int32{-1}}},
		"has a part":       {{Tokens: []int32{1}}, {Tokens: []int32{1}}},
		"more KV blocks":   {{Tokens: make([]int32, 13)}},
		"part 2 of 2, slo": {{Tokens: []int32{1}}, {Slot: 2}},
	} {
		if _, err := m.Step(context.Background(), parts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, must say %q", err, want)
		}
		if m.FreeBlocks() != 3 {
			t.Fatalf("%q: a refused step took blocks", want)
		}
	}
	if next, err := m.Step(context.Background(), nil); len(next) != 0 || err != nil {
		t.Errorf("a step without parts returned %v, %v", next, err)
	}
}
