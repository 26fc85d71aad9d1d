package validate

import (
	"math/bits"
	"testing"
	"testing/synctest"
	"time"

	"orrery/calibrate"
)

// The ladder meets every number of decodes, every octave of chunks and of contexts, in
// batches with and without the other kind, and never holds more than the memory does.
func TestLadderCovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &clockwork{}
		l, err := newLadder(m, three(), 1)
		if err != nil {
			t.Fatal(err)
		}
		m.Reset()
		if err := l.measure(t.Context(), 60*time.Second, 0); err != nil { // clockwork checks that parts continue
			t.Fatal(err)
		}
		decodes, chunks, contexts := map[int]int{}, map[int]int{}, map[int]int{}
		mixed := 0
		for _, s := range l.samples {
			b := &s.Batch
			decodes[b.Decodes]++
			chunks[bits.Len(uint(b.ChunkTokens))]++
			if b.Decodes > 0 {
				contexts[bits.Len(uint(b.DecodeContext/int64(b.Decodes)))]++
				if b.Chunks > 0 {
					mixed++
				}
			}
		}
		if l.maxSeqs != 16 {
			t.Errorf("up to %d sequences, want the policies' 16", l.maxSeqs)
		}
		for n := 1; n <= 16; n++ {
			if decodes[n] < 4 {
				t.Errorf("%d decodes were measured %d times", n, decodes[n])
			}
		}
		for octave := 1; octave <= 8; octave++ {
			if chunks[octave] < 4 {
				t.Errorf("chunks of about %d tokens were measured %d times", 1<<octave*3/4, chunks[octave])
			}
		}
		for octave := 3; octave <= 8; octave++ {
			if contexts[octave] == 0 {
				t.Errorf("mean contexts of about %d tokens were not measured", 1<<octave*3/4)
			}
		}
		if share := float64(mixed) / float64(len(l.samples)); share < 0.1 || share > 0.9 {
			t.Errorf("%.2f of the batches are mixed", share)
		}
	})
}

// A gauge measures the same iterations every time, and shows how slow the machine was.
func TestGauge(t *testing.T) {
	if testing.Short() {
		t.Skip("fits a long calibration")
	}
	synctest.Test(t, func(t *testing.T) {
		speed := 1.0
		m := &clockwork{served: func(int64) float64 { return speed }}
		l, err := newLadder(m, three(), 1)
		if err != nil {
			t.Fatal(err)
		}
		m.Reset()
		if err := l.measure(t.Context(), 20*time.Second, 0); err != nil {
			t.Fatal(err)
		}
		cost, err := calibrate.FitIterations(l.samples)
		if err != nil {
			t.Fatal(err)
		}
		for k, s := range []float64{1, 1.5, 0.8} {
			speed = s
			m.Reset()
			if err := l.gauge(t.Context(), time.Second); err != nil {
				t.Fatal(err)
			}
			for i := range l.gauges[k].to - l.gauges[k].from {
				if l.samples[l.gauges[k].from+i].Batch != l.samples[l.gauges[0].from+i].Batch {
					t.Fatalf("gauge %d: iteration %d differs from the first gauge's", k, i)
				}
			}
			if r := l.slowness(cost, k) / l.slowness(cost, 0); r < s-0.001 || r > s+0.001 {
				t.Errorf("a machine slower by %g seems slower by %g", s, r)
			}
		}
		steady, err := Steadiness(t.Context(), m, three(), 1, time.Second)
		if err != nil || steady > 1e-6 {
			t.Errorf("a machine that keeps time is off by %g, %v", steady, err)
		}
	})
}
