package llm

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const gib = 1 << 30

// a100 is what PyTorch reports of an A100-80GB (79.15 GiB), with the fraction that
// the Sarathi artefact uses.
var a100 = Budget{Device: "a100", Bytes: 84_986_691_584, Fraction: 0.85}

// TestBlocksByHand recomputes the blocks of Mistral-7B on one device for the three
// profile runs of the Sarathi paper.
func TestBlocksByHand(t *testing.T) {
	m := load(t, "mistral-7b")
	const (
		usable  = 72_238_687_846 // 0.85 * 84,986,691,584, rounded down
		weights = 2 * 7_241_732_096
		token   = 2 * (4*4096 + 3*14336) // bytes of activations at the down projection
		block   = 16 * 131_072
	)
	for _, c := range []struct {
		name   string
		tokens int
	}{
		{"sarathi, one chunk", 512},
		{"vllm, max_num_batched_tokens", 8192},
		{"orca, 16 sequences of 8192", 16 * 8192},
	} {
		want := int64(usable-weights-token*c.tokens) / block
		got, err := m.Blocks(Parallel{1, 1}, a100, ProfileRun{Tokens: c.tokens}, 16)
		if err != nil || got != want {
			t.Errorf("%s: %d blocks, %v; want %d", c.name, got, err, want)
		}
	}
}

// TestFalconByHand recomputes a stage of Falcon-180B at TP 4 x PP 2, whose block is
// parallel, has no gate and has two norms.
func TestFalconByHand(t *testing.T) {
	m, p := load(t, "falcon-180b"), Parallel{4, 2}
	const (
		h, v, inner = 14848, 65024 / 4, 59392 / 4
		query, kv   = 58 * 64, 2 * 64
		layer       = h*(query+2*kv) + query*h + 2*h*inner + 2*2*h
	)
	for stage, want := range []int64{2 * (40*layer + v*h), 2 * (40*layer + v*h + 2*h)} {
		if got := m.Weights(p, stage); got != want {
			t.Errorf("stage %d has %d bytes of weights a device, want %d", stage, got, want)
		}
	}
	// Layer input, two norms, attention output, up and activation; the second stage
	// keeps what it received.
	run := ProfileRun{Tokens: 512}
	for stage, want := range []int64{2 * 512 * (5*h + inner), 2 * 512 * (6*h + inner)} {
		if got := m.Activations(p, stage, run); got != want {
			t.Errorf("stage %d has %d bytes of activations a device, want %d", stage, got, want)
		}
	}
	if got, want := m.BlockBytes(p, 0, 16), int64(16*2*40*2*64*2); got != want {
		t.Errorf("a block takes %d bytes a device, want %d", got, want)
	}
}

func TestSamplingCountsTheVocabulary(t *testing.T) {
	m := load(t, "qwen2.5-7b")
	got := m.Activations(Parallel{1, 1}, 0, ProfileRun{Tokens: 256, Logits: 256})
	if want := int64(256*3584*2 + 256*152064*14); got != want {
		t.Errorf("sampling 256 sequences takes %d bytes, want %d", got, want)
	}
	two := Parallel{1, 2}
	if first := m.Activations(two, 0, ProfileRun{256, 256}); first != m.Activations(two, 0, ProfileRun{256, 0}) {
		t.Error("the first of two stages has memory for sampling, which the last does")
	}
}

func TestTiedEmbeddingIsCopiedOnlyAcrossStages(t *testing.T) {
	m := *load(t, "llama-3.1-8b")
	table := int64(m.Vocab) * int64(m.Hidden) * 2
	untied := m
	m.TiedEmbedding = true
	if d := untied.Weights(Parallel{1, 1}, 0) - m.Weights(Parallel{1, 1}, 0); d != table {
		t.Errorf("tying saves %d bytes on one stage, want %d", d, table)
	}
	if d := untied.Weights(Parallel{1, 2}, 1) - m.Weights(Parallel{1, 2}, 1); d != 0 {
		t.Errorf("tying saves %d bytes on the last of two stages, want 0", d)
	}
}

// TestWeightsAddUp checks that the devices of a replica hold the model exactly
// once, and what is copied as often as there are devices.
func TestWeightsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, err := Load(rapid.SampledFrom(Names()).Draw(t, "model"))
		if err != nil {
			t.Fatal(err)
		}
		p := Parallel{rapid.SampledFrom([]int{1, 2, 4, 8, 16}).Draw(t, "tensor"), rapid.IntRange(1, 8).Draw(t, "pipeline")}
		if m.CanSplit(p) != nil {
			t.Skip("does not split so")
		}
		var sum int64
		for stage := range p.Pipeline {
			sum += m.Weights(p, stage) * int64(p.Tensor)
		}
		extra := int64(p.Tensor - 1) // copies of what is not split
		copies := int64(m.Layers)*(int64(m.NormsPerLayer)*m.normParams()+int64(m.Hidden*m.Experts)) + m.normParams()
		if m.QKNorm {
			copies += int64(m.Layers) * 2 * int64(m.HeadDim)
		}
		if m.OutBias {
			copies += int64(m.Layers * m.Hidden)
		}
		heads := int64(m.KVHeadsPerDevice(p.Tensor)*p.Tensor - m.KVHeads) // copies of KV heads
		perHead := 2 * int64(m.HeadDim) * int64(m.Hidden)
		if m.QKVBias {
			perHead += 2 * int64(m.HeadDim)
		}
		var table int64 // copy of the embedding on the last stage, if the LM head shares it
		if m.TiedEmbedding && p.Pipeline > 1 {
			table = int64(m.Vocab) * int64(m.Hidden)
		}
		want := m.Params() + table + extra*copies + int64(m.Layers)*heads*perHead
		bytes := want * int64(m.WeightBytes)
		if m.ExpertBits > 0 { // gate, up and down of every expert are packed
			experts := 3 * float64(m.Layers*m.Experts) * float64(m.Hidden*m.Intermediate)
			bytes -= int64(experts * (float64(m.WeightBytes) - m.ExpertBits/8))
		}
		if off := sum - bytes; off > int64(p.Devices()) || off < -int64(p.Devices()) { // rounded down on each device
			t.Fatalf("%s with %v: %d bytes on all devices, want %d", m.Name, p, sum, bytes)
		}
	})
}

func TestVocabularyIsPadded(t *testing.T) {
	m := *load(t, "mistral-7b")
	m.Vocab = 32001
	for tensor, want := range map[int]int64{1: 32064, 2: 16032, 8: 4008, 3: 10688} {
		if got := m.vocabPerDevice(tensor); got != want {
			t.Errorf("a vocabulary of 32001 takes %d rows on each of %d devices, want %d", got, tensor, want)
		}
	}
}

func TestFitErrorNamesWhatWouldDo(t *testing.T) {
	run := ProfileRun{Tokens: 512}
	for _, c := range []struct {
		model, want string
	}{
		{"llama-2-70b", "llama-2-70b does not fit on a100 with TP 1 x PP 1: needs 128.6 GiB a device, has 67.3; 2 devices (TP 2 x PP 1) would do"},
		{"falcon-180b", "falcon-180b does not fit on a100 with TP 1 x PP 1: needs 334.6 GiB a device, has 67.3; 6 devices (TP 2 x PP 3) would do"},
	} {
		_, err := load(t, c.model).Blocks(Parallel{1, 1}, a100, run, 16)
		if errText(err) != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
	_, err := load(t, "llama-2-70b").Blocks(Parallel{1, 1}, Budget{"toy", 1 << 20, 1, 0}, run, 16)
	if err == nil || !strings.HasSuffix(err.Error(), "; no number of such devices would do") {
		t.Errorf("on a device of 1 MiB: %v", err)
	}
}

// TestFitErrorIsRight checks the promise of the message: what it names fits, and
// nothing with fewer devices does.
func TestFitErrorIsRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, err := Load(rapid.SampledFrom(Names()).Draw(t, "model"))
		if err != nil {
			t.Fatal(err)
		}
		b := Budget{"some device", rapid.Int64Range(8*gib, 192*gib).Draw(t, "bytes"), 0.9, rapid.Int64Range(0, 2*gib).Draw(t, "reserved")}
		run := ProfileRun{rapid.IntRange(1, 16384).Draw(t, "tokens"), rapid.IntRange(0, 512).Draw(t, "logits")}
		_, err = m.Blocks(Parallel{1, 1}, b, run, 16)
		var fit *FitError
		if !errors.As(err, &fit) {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		if fit.Need <= fit.Have {
			t.Fatalf("%v, though it needs no more than there is", fit)
		}
		if fit.Fits.Devices() == 0 {
			return
		}
		if n, err := m.Blocks(fit.Fits, b, run, 16); err != nil || n < 1 {
			t.Fatalf("%v, but with it: %d blocks, %v", fit, n, err)
		}
		for tensor := 1; tensor <= nodeDevices; tensor++ {
			for pipeline := 1; tensor*pipeline < fit.Fits.Devices(); pipeline++ {
				if n, err := m.Blocks(Parallel{tensor, pipeline}, b, run, 16); err == nil {
					t.Fatalf("%v, but TP %d x PP %d has %d blocks", fit, tensor, pipeline, n)
				}
			}
		}
	})
}

func TestBlocksRefusesNonsense(t *testing.T) {
	m, one, run := load(t, "mistral-7b"), Parallel{1, 1}, ProfileRun{Tokens: 512}
	for _, c := range []struct {
		b     Budget
		run   ProfileRun
		block int
		want  string
	}{
		{Budget{"a", gib, 0, 0}, run, 16, "memory fraction is 0"},
		{Budget{"a", gib, 1.5, 0}, run, 16, "memory fraction is 1.5"},
		{Budget{"a", 0, 0.9, 0}, run, 16, "device memory is 0 bytes"},
		{a100, ProfileRun{}, 16, "profile run has 0 tokens"},
		{a100, run, 0, "block has 0 tokens"},
	} {
		if _, err := m.Blocks(one, c.b, c.run, c.block); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v; want %q", c, err, c.want)
		}
	}
	if _, err := m.Blocks(Parallel{3, 1}, a100, run, 16); err == nil {
		t.Error("32 heads were split over 3 devices")
	}
}
