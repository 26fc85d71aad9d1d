package hwmodel

import (
	"math"
	"strings"
	"testing"
	"time"
)

func measuredExample() *Measured {
	return &Measured{
		Tokens: Curve{X: []float64{1, 2, 10}, Y: []float64{6e-3, 16e-3, 20e-3}},
		Decode: 1e-6, DecodeContext: 2e-6, Chunk: 3e-6, ChunkContext: 4e-6, ChunkPair: 5e-9, Logit: 6e-6,
		HostIteration: 1e-4, HostSequence: 1e-5,
	}
}

// The price of an iteration by hand: on the curve, between its points and beyond.
func TestMeasured(t *testing.T) {
	m := measuredExample()
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
	one := Batch{Decodes: 1, DecodeContext: 100, Logits: 1}
	var six, twelve Batch
	six.AddChunk(6, 50)
	twelve.AddChunk(12, 0)
	for _, c := range []struct {
		b    Batch
		want float64
	}{
		{one, 6e-3 + 1e-6 + 200e-6 + 6e-6},
		{six, 18e-3 + 3e-6 + 200e-6 + 5e-9*(300+21)},
		{twelve, 21e-3 + 3e-6 + 5e-9*78},
	} {
		if got := m.Stage(0, &c.b); got != time.Duration(math.Round(c.want*1e9)) {
			t.Errorf("%+v takes %v, want %g s", c.b, got, c.want)
		}
	}
	if got, want := m.Scaled(2).Seconds(&six), 2*m.Seconds(&six); math.Abs(got-want) > 1e-12 {
		t.Errorf("scaled by 2 it takes %g s, want %g", got, want)
	}
	if m.Extrapolated() != 1 {
		t.Errorf("%d prices were extrapolated, want that of 12 tokens", m.Extrapolated())
	}
	if host, overlapped := m.Host(&one); host != 110*time.Microsecond || overlapped {
		t.Errorf("host time %v, overlapped %v; want 110us before the device", host, overlapped)
	}
}

func TestMeasuredRefuses(t *testing.T) {
	for want, change := range map[string]func(m *Measured){
		"0 numbers":      func(m *Measured) { m.Tokens = Curve{} },
		"do not fall":    func(m *Measured) { m.Tokens.Y[2] = 1e-3 },
		"must be 0":      func(m *Measured) { m.Logit = math.NaN() },
		"must be 0 ":     func(m *Measured) { m.ChunkPair = -1 },
		"take no time":   func(m *Measured) { m.Tokens.Y[0] = 0 },
		"want times tha": func(m *Measured) { m.Tokens.X[1] = 1 },
	} {
		m := measuredExample()
		change(m)
		if err := m.Check(); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
			t.Errorf("error %v, want one about %q", err, want)
		}
	}
}
