package calibrate

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"orrery/hwmodel"
	"orrery/sim"
)

// cliffs is a machine whose first token streams the weights and whose second takes
// another kernel, as processors do.
func cliffs(b *hwmodel.Batch) float64 {
	n := float64(b.Tokens())
	t := 6e-3
	if n > 1 {
		t = 16e-3 + 0.2e-3*(n-2)
	}
	return t + 1e-6*float64(b.DecodeContext) + 20e-9*float64(b.ChunkPairs) + 0.1e-3*float64(b.Logits)
}

// drawBatch returns a batch as a policy might form it.
func drawBatch(rng *rand.Rand) hwmodel.Batch {
	var b hwmodel.Batch
	for range rng.IntN(25) {
		b.Decodes++
		b.DecodeContext += 1 + rng.Int64N(300)
		b.Logits++
	}
	if rng.IntN(2) == 0 || b.Decodes == 0 {
		b.AddChunk(1+rng.IntN(200), rng.Int64N(200))
		b.Logits += rng.IntN(2)
	}
	return b
}

func iterationsOf(n int, seed uint64, noise float64) []IterationSample {
	rng := sim.Stream(seed, "iterations")
	var samples []IterationSample
	for range n {
		b := drawBatch(rng)
		t := cliffs(&b) * math.Exp(noise*rng.NormFloat64())
		samples = append(samples, IterationSample{Batch: b, Seconds: t})
	}
	return samples
}

// A fit to noisy iterations prices others within a fraction of the noise, cliff
// included, and says how large the noise is.
func TestFitIterations(t *testing.T) {
	for _, noise := range []float64{0, 0.05} {
		samples := iterationsOf(600, 1, noise)
		m, err := FitIterations(samples)
		if err != nil {
			t.Fatal(err)
		}
		var errs []float64
		var said, truth float64
		for _, s := range iterationsOf(400, 2, 0) {
			p := m.Seconds(&s.Batch)
			errs = append(errs, math.Abs(p/s.Seconds-1))
			said += p
			truth += s.Seconds
		}
		if e, limit := mean(errs), 0.005+noise/3; e > limit {
			t.Errorf("noise %g: mean error %.4f on other iterations, want at most %g", noise, e, limit)
		}
		if e, limit := math.Abs(said/truth-1), 0.002+noise/10; e > limit {
			t.Errorf("noise %g: total off by %.4f, want at most %g", noise, e, limit)
		}
		if e := m.Fit.HeldOutMean; noise > 0 && (e < noise/2 || e > 1.5*noise) {
			t.Errorf("noise %g: the fit states an error of %g", noise, e)
		}
		one, two := hwmodel.Batch{Decodes: 1, DecodeContext: 50, Logits: 1}, hwmodel.Batch{Decodes: 2, DecodeContext: 100, Logits: 2}
		if r := m.Seconds(&two) / m.Seconds(&one); math.Abs(r/(cliffs(&two)/cliffs(&one))-1) > 0.01+2*noise {
			t.Errorf("noise %g: two tokens take %.2f times one, want %.2f", noise, r, cliffs(&two)/cliffs(&one))
		}
	}
}

// Stalls move the fit by what they cost on average, not by their squares.
func TestFitIterationsWithStalls(t *testing.T) {
	samples := iterationsOf(600, 1, 0.01)
	for i := range samples {
		if i%50 == 7 {
			samples[i].Seconds *= 3 // 2 % of the iterations: 4 % of the time
		}
	}
	m, err := FitIterations(samples)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range iterationsOf(200, 2, 0) {
		if r := m.Seconds(&s.Batch) / s.Seconds; r < 0.98 || r > 1.12 {
			t.Fatalf("%+v is priced %.3f times its time", s.Batch, r)
		}
	}
}

// Whatever is fitted, more tokens or context never take less time.
func TestMeasuredIsMonotone(t *testing.T) {
	m, err := FitIterations(iterationsOf(300, 3, 0.2))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		b := drawBatch(sim.Stream(rapid.Uint64().Draw(t, "seed"), "batch"))
		before := m.Seconds(&b)
		more := b
		switch rapid.IntRange(0, 2).Draw(t, "what") {
		case 0:
			more.Decodes++
			more.Logits++
			more.DecodeContext += 10
		case 1:
			more.AddChunk(7, 10)
		case 2:
			more.DecodeContext += 100
			more.ChunkContext += 100
			more.ChunkPairs += 100
		}
		if after := m.Seconds(&more); after < before {
			t.Fatalf("%+v takes %g, %+v %g", b, before, more, after)
		}
	})
}

func TestFitIterationsRefuses(t *testing.T) {
	good := iterationsOf(100, 1, 0)
	for want, samples := range map[string][]IterationSample{
		"too few":     good[:10],
		"above 0":     append([]IterationSample{{Batch: good[0].Batch, Seconds: math.NaN()}}, good...),
		"above 0 ":    append([]IterationSample{{Batch: good[0].Batch, Seconds: -1}}, good...),
		"no tokens":   append([]IterationSample{{Seconds: 1}}, good...),
		"iteration 1": append([]IterationSample{{Batch: good[0].Batch, Seconds: math.Inf(1)}}, good...),
	} {
		if _, err := FitIterations(samples); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
			t.Errorf("error %v, want one about %q", err, want)
		}
	}
}

func BenchmarkFitIterations(b *testing.B) {
	samples := iterationsOf(600, 1, 0.05)
	for b.Loop() {
		if _, err := FitIterations(samples); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMeasured(b *testing.B) {
	m, err := FitIterations(iterationsOf(600, 1, 0.05))
	if err != nil {
		b.Fatal(err)
	}
	batch := drawBatch(sim.Stream(1, "batch"))
	for b.Loop() {
		m.Stage(0, &batch)
	}
}

// The solution of a constrained problem satisfies the conditions of Karush, Kuhn and
// Tucker: no gradient where an unknown is free, none that would lower it below 0.
func TestNonNegativeIsOptimal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := sim.Stream(rapid.Uint64().Draw(t, "seed"), "problem")
		n := 1 + rng.IntN(6)
		p := newNonNegative(n)
		for range 3 * n {
			row := make([]float64, n)
			for i := range row {
				row[i] = rng.NormFloat64()
			}
			p.add(row, rng.NormFloat64(), rng.Float64())
		}
		x := p.solve()
		for i := range x {
			gradient := dot(p.a[i*n:(i+1)*n], x) - p.b[i]
			if x[i] < 0 || gradient < -1e-5 || x[i] > 1e-5 && gradient > 1e-5 {
				t.Fatalf("unknown %d is %g with gradient %g", i, x[i], gradient)
			}
		}
	})
}

// Iterations come back from a file as they went in, and files that no measurement
// wrote are refused with the place.
func TestIterationsInFiles(t *testing.T) {
	samples := iterationsOf(40, 4, 0)
	for i := range samples {
		s := &samples[i]
		s.GPU, s.Model, s.Engine, s.Tensor, s.Source = "cpu", "a, model", "orrery", 1, "test"
		s.Batch.ChunkContext64 = 0 // not in the file
		s.Seconds = Round(s.Seconds*1e6) * 1e-6
	}
	path := filepath.Join(t.TempDir(), "iterations.txt")
	if err := (&Measured{Iterations: samples}).Write(path); err != nil {
		t.Fatal(err)
	}
	m, err := ReadMeasurements(path)
	if err != nil || !slices.Equal(m.Iterations, samples) {
		t.Fatalf("%v\nread    %+v\nwritten %+v", err, m.Iterations, samples)
	}
	header := strings.Join(iterationColumns, ",")
	for line, want := range map[string]string{
		"cpu,m,,1,1,9,0,0,0,0,0,1,0,me":     "time_us",
		"cpu,m,,1,1,9,0,0,0,0,0,1,NaN,me":   "time_us",
		"cpu,m,,1,0,0,0,0,0,0,0,0,5,me":     "no tokens",
		"cpu,m,,0,1,9,0,0,0,0,0,1,5,me":     "tp",
		"cpu,m,,1,1.5,9,0,0,0,0,0,1,5,me":   "decodes",
		"cpu,m,,1,1,0,0,0,0,0,0,1,5,me":     "do not go together",
		",m,,1,1,9,0,0,0,0,0,1,5,me":        "must be named",
		"cpu,m,,1,1,9,0,0,0,0,0,1,5":        "13 fields",
		"cpu,m,,1,1,9,0,0,0,0,0,2,5,me":     "sampled twice",
		"cpu,m,,1,-1,9,1,3,0,0,0,0,5,me":    "decodes",
		"cpu,m,,1,1,9,0,0,0,0,0,1,-5,me":    "time_us",
		"cpu,m,,1,1,9,0,0,0,0,0,1,+Inf,me":  "time_us",
		"cpu,m,,1,1,9,3,2,0,3,0,1,5,me":     "do not go together",
		"cpu,m,,1,1,1e99,0,0,0,0,0,1,5,me":  "decode_context",
		"cpu,m,,1,1,9,0,0,0,0,0,1,5,":       "must be named",
		"cpu,m,,1,1,9,0,0,0,0,0,1,5,me,too": "15 fields",
	} {
		path := filepath.Join(t.TempDir(), "bad.csv")
		if err := os.WriteFile(path, []byte(header+"\n"+line+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadMeasurements(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "bad.csv:2") {
			t.Errorf("%s: error %v; want one about %q at bad.csv:2", line, err, want)
		}
	}
}
