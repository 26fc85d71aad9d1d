package llm

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"orrery/hwmodel"
)

func testCost(t testing.TB, model string, par Parallel, device, engine string, options ...Option) *Cost {
	t.Helper()
	m, err := Load(model)
	if err != nil {
		t.Fatal(err)
	}
	p, err := hwmodel.Load(device)
	if err != nil {
		t.Fatal(err)
	}
	e, err := hwmodel.LoadEngine(engine)
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewCost(m, par, p, e, options...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Law 2 for whole iterations: no stage is quicker than reading its weights and the
// KV cache of its decodes once, nor than its products at the peak rate; and the same
// batch takes the same time, whatever was asked before.
func TestStagesObeyPhysicsAndRememberRightly(t *testing.T) {
	for _, model := range Names() {
		for _, device := range hwmodel.Names() {
			for _, engine := range hwmodel.Engines() {
				m, err := Load(model)
				if err != nil {
					t.Fatal(err)
				}
				par := Parallel{Tensor: 2, Pipeline: 2}
				c := testCost(t, model, par, device, engine)
				d := &c.profile.Device
				// Weights of the layers of stage 1, attention and one MLP (an expert's).
				attention := m.Hidden * m.HeadDim * 2 * (m.Heads + m.KVHeads)
				mlp := 2 * m.Hidden * m.Intermediate
				if m.Gated {
					mlp += m.Hidden * m.Intermediate
				}
				active := max(1, m.ExpertsPerToken)
				perDevice := float64(attention+active*mlp) / float64(par.Tensor) * float64(m.Layers/par.Pipeline)
				// Bytes of them: two a weight, but experts may come packed.
				mlpBytes := 2.0
				if m.ExpertBits > 0 {
					mlpBytes = m.ExpertBits / 8
				}
				weights := (2*float64(attention) + mlpBytes*float64(active*mlp)) / float64(par.Tensor) * float64(m.Layers/par.Pipeline)
				// Share of the layers that look back no further than a window.
				windowed := 0.0
				if m.SlidingWindow > 0 {
					windowed = 1
					if m.WindowLayers > 0 {
						windowed = float64(m.WindowLayers) / float64(m.Layers)
					}
				}
				rapid.Check(t, func(t *rapid.T) {
					n, context := rapid.IntRange(1, 200).Draw(t, "decodes"), rapid.IntRange(1, 8000).Draw(t, "context")
					b := decodes(n, context)
					if rapid.Bool().Draw(t, "with a chunk") {
						b.AddChunk(rapid.IntRange(1, 20000).Draw(t, "chunk"), rapid.Int64Range(0, 20000).Draw(t, "cached"))
					}
					got := c.Stage(1, &b)
					read := (1-windowed)*float64(b.DecodeContext) + windowed*float64(n*min(context, m.SlidingWindow))
					kv := read * float64(2*m.HeadDim*2*max(1, m.KVHeads/par.Tensor)) * float64(m.Layers/par.Pipeline)
					floor := max((weights+kv)/d.DRAMBytes, 2*perDevice*float64(b.Tokens())/d.FLOPs("fp16"))
					if got.Seconds() < floor*(1-1e-9)-1e-9 {
						t.Fatalf("%s on %s by %s: stage takes %v, physics allows no less than %g s", model, device, engine, got, floor)
					}
					if again := c.Stage(1, &b); again != got {
						t.Fatalf("the same batch takes %v, then %v", got, again)
					}
					fresh := testCostOf(t, c)
					if other := fresh.Stage(1, &b); other != got {
						t.Fatalf("the same batch takes %v on a cost model with memory, %v on a fresh one", got, other)
					}
				})
			}
		}
	}
}

// testCostOf returns a cost model like c that remembers nothing.
func testCostOf(t *rapid.T, c *Cost) *Cost {
	fresh, err := NewCost(c.model, c.par, c.profile, c.engine)
	if err != nil {
		t.Fatal(err)
	}
	return fresh
}

// More work never takes less time, but for what the measured corrections on top of the
// formulas make of it, which follow kernels that are quicker at some larger sizes: a
// longer context, and a chunk beside the decodes.
func TestMoreWorkTakesLonger(t *testing.T) {
	for _, engine := range hwmodel.Engines() {
		c := testCost(t, "mistral-7b", Parallel{1, 1}, "a100-sxm-80gb", engine)
		rapid.Check(t, func(t *rapid.T) {
			n, h := rapid.IntRange(1, 200).Draw(t, "decodes"), rapid.IntRange(1, 8000).Draw(t, "context")
			b := decodes(n, h)
			longer := decodes(n, h+rapid.IntRange(1, 1000).Draw(t, "more context"))
			const slack = 0.97
			if float64(c.Stage(0, &longer)) < slack*float64(c.Stage(0, &b)) {
				t.Fatalf("%s: %d decodes at context %d take %v, at a longer one %v", engine, n, h, c.Stage(0, &b), c.Stage(0, &longer))
			}
			hybrid := b
			hybrid.AddChunk(rapid.IntRange(8, 4096).Draw(t, "chunk"), 0)
			if float64(c.Stage(0, &hybrid)) < slack*float64(c.Stage(0, &b)) && engine != "vllm-v0" {
				t.Fatalf("%s: decodes take %v alone and %v with a chunk", engine, c.Stage(0, &b), c.Stage(0, &hybrid))
			}
		})
	}
}

// The stages of a pipeline share the layers: together they take what one stage
// takes, apart from what the first and the last do once and from launches.
func TestStagesShareTheLayersTime(t *testing.T) {
	whole := testCost(t, "llama-2-70b", Parallel{4, 1}, "a100-sxm-80gb", "ideal")
	for _, n := range []int{2, 3, 8} {
		c := testCost(t, "llama-2-70b", Parallel{4, n}, "a100-sxm-80gb", "ideal")
		b := decodes(32, 1000)
		var sum time.Duration
		for s := range n {
			sum += c.Stage(s, &b)
		}
		if d := sum - whole.Stage(0, &b); d < -time.Duration(n) || d > time.Duration(n) {
			t.Errorf("%d stages take %v in all, one %v", n, sum, whole.Stage(0, &b))
		}
		if c.Send(&b) <= 0 || whole.Send(&b) != 0 {
			t.Errorf("%d stages hand over in %v, one stage in %v", n, c.Send(&b), whole.Send(&b))
		}
	}
}

// A group of four joined in pairs crosses PCIe, and its all-reduce is an order of
// magnitude slower than over a switch.
func TestLargeGroupOfPairsCrossesPCIe(t *testing.T) {
	pairs := testCost(t, "llama-2-70b", Parallel{4, 1}, "a100-pcie-80gb", "sarathi-2024")
	switched := testCost(t, "llama-2-70b", Parallel{4, 1}, "a100-sxm-80gb", "sarathi-2024")
	var b hwmodel.Batch
	b.AddChunk(4096, 0)
	extra := pairs.Stage(0, &b) - switched.Stage(0, &b)
	// 160 all-reduces of 67 MB at about 15 GB/s rather than 110.
	if extra < 400*time.Millisecond || extra > 900*time.Millisecond {
		t.Errorf("crossing PCIe adds %v to a prompt of 4096 tokens", extra)
	}
}

// Swapping adds what the bytes take over the PCIe links of all devices.
func TestSwapTakesPCIe(t *testing.T) {
	c := testCost(t, "mistral-7b", Parallel{2, 1}, "a100-sxm-80gb", "ideal")
	b := decodes(8, 100)
	plain := c.Stage(0, &b)
	b.SwapBytes = 1 << 30
	added := (c.Stage(0, &b) - plain).Seconds()
	if floor := float64(1<<30) / 2 / c.profile.Device.PCIeBytes; added < floor || added > 4*floor {
		t.Errorf("swapping 1 GiB over two links adds %g s, the links' peak allows %g", added, floor)
	}
}

// A layer of experts reads all experts' weights once a batch reaches them, and only
// a token's own below.
func TestExpertsAreReadAsTokensReachThem(t *testing.T) {
	c := testCost(t, "mixtral-8x7b", Parallel{2, 1}, "a100-sxm-80gb", "ideal")
	one, many := decodes(1, 10), decodes(64, 10)
	r := float64(c.Stage(0, &many)) / float64(c.Stage(0, &one))
	// 8 experts of 8 rather than 2, and attention weights in both.
	if r < 2.2 || r > 4 {
		t.Errorf("64 tokens take %.2f times one, want between 2.2 and 4", r)
	}
}

func TestWhatCannotBeSplitIsRefused(t *testing.T) {
	p, err := hwmodel.Load("a100-sxm-80gb")
	if err != nil {
		t.Fatal(err)
	}
	e, err := hwmodel.LoadEngine("sarathi-2024")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		model string
		par   Parallel
		opt   []Option
		want  string
	}{
		{"mistral-7b", Parallel{0, 1}, nil, "want at least 1 each"},
		{"mistral-7b", Parallel{3, 1}, nil, "does not divide the 32 heads"},
		{"mistral-7b", Parallel{1, 33}, nil, "more than the 32 layers"},
		{"mistral-7b", Parallel{2, 1}, []Option{GroupLink("nvswich")}, "did you mean"},
		{"mistral-7b", Parallel{1, 2}, []Option{StageLink("ethernet")}, "send link"},
	} {
		m, err := Load(c.model)
		if err != nil {
			t.Fatal(err)
		}
		_, err = NewCost(m, c.par, p, e, c.opt...)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s over %+v: error is %v, want one line with %q", c.model, c.par, err, c.want)
		}
	}
}

// What was not measured is said: nothing on an A100 but the copy of kernels to its
// PCIe board, much on an A40.
func TestDoubtsAreNamed(t *testing.T) {
	if d := testCost(t, "mistral-7b", Parallel{1, 1}, "a100-sxm-80gb", "vllm-v0").Doubts(); len(d) != 0 {
		t.Errorf("all was measured, yet: %q", d)
	}
	d := strings.Join(testCost(t, "mistral-7b", Parallel{4, 1}, "a40-48gb", "sarathi-2024").Doubts(), "\n")
	for _, want := range []string{"derived on a40-48gb", "decode attention, all-reduce"} {
		if !strings.Contains(d, want) {
			t.Errorf("doubts are %q, want %q among them", d, want)
		}
	}
}

// BenchmarkStage prices batches of a run: hybrid ones near a budget and decodes that
// come and go.
func BenchmarkStage(b *testing.B) {
	for _, x := range []struct {
		name  string
		chunk bool
	}{{"decode", false}, {"hybrid", true}} {
		b.Run(x.name, func(b *testing.B) {
			c := testCost(b, "mistral-7b", Parallel{1, 1}, "a100-sxm-80gb", "sarathi-2024")
			batches := make([]hwmodel.Batch, 256)
			for i := range batches {
				batches[i] = decodes(1+i%128, 1000+i)
				if x.chunk {
					batches[i].AddChunk(512-i%128, int64(i))
				}
				c.Stage(0, &batches[i])
			}
			b.ReportAllocs()
			b.ResetTimer()
			var sum time.Duration
			for i := range b.N {
				sum += c.Stage(0, &batches[i%256])
			}
			if sum < 0 {
				b.Fatal("time ran backwards")
			}
		})
	}
}
