package validate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"orrery/cluster"
	"orrery/hwmodel"
	"orrery/policies/batch"
	"orrery/report"
	"orrery/report/chart"
	"orrery/sim"
	"orrery/workloads/trace"
)

// clockwork is a machine that sleeps: under testing/synctest its times are exact. It
// has the cliff of a processor between one token and two, and an attention that the
// cost model does not know in this form.
type clockwork struct {
	served func(request int64) float64 // factor on what runs take, by the request at hand; nil for none
	jitter *rand.Rand                  // of each iteration, nil for none
	scale  float64                     // of the jitter
	held   map[int32]int32             // tokens by slot
	fault  error
}

func (c *clockwork) Run(ctx context.Context, s *cluster.ExecStep) (cluster.Ran, error) {
	if c.fault != nil {
		return cluster.Ran{}, c.fault
	}
	for _, slot := range s.Freed {
		delete(c.held, slot)
	}
	factor := 1.0
	for _, p := range s.Parts {
		if c.held[p.Slot] != p.Before {
			return cluster.Ran{}, errors.New("a part does not continue what its slot holds")
		}
		c.held[p.Slot] += p.Tokens
		if c.served != nil {
			factor = c.served(p.Request)
		}
	}
	if c.jitter != nil {
		factor *= math.Exp(c.scale * c.jitter.NormFloat64())
	}
	ran := cluster.Ran{Host: 0, Begin: time.Now()}
	time.Sleep(time.Duration(factor * 1e9 * seconds25M(&s.Batch)))
	ran.End = time.Now()
	return ran, ctx.Err()
}

func (c *clockwork) Reset() { c.held = map[int32]int32{} }

// seconds25M is about what a model of 25 million parameters takes on one core.
func seconds25M(b *hwmodel.Batch) float64 {
	n := float64(b.Tokens())
	t := 3e-3
	if n > 1 {
		t = 5e-3 + 0.25e-3*n
	}
	return t + 2e-6*float64(b.DecodeContext) + 30e-9*float64(b.ChunkPairs) + 20e-9*float64(b.ChunkSquares) + 50e-6*float64(b.Logits)
}

// three returns the policies to validate, on short prompts.
func three() []Subject {
	subject := func(name string, policy func() batch.Policy) Subject {
		return Subject{name, func(rate float64, n int64, seed uint64) (*Trial, error) {
			source, err := trace.Synthetic{
				Arrivals: trace.Poisson{Rate: rate}, N: n, Seed: seed,
				Lengths: trace.Capped{Of: trace.Joint{Prompt: trace.LogNormal{Median: 60, Sigma: 0.8}, Output: trace.LogNormal{Median: 30, Sigma: 0.6}}, MaxTotal: 256},
			}.Open()
			if err != nil {
				return nil, err
			}
			t := &Trial{
				Config: cluster.Config{Source: source, Replicas: []cluster.ReplicaConfig{{
					Policy: policy(), Cost: &hwmodel.Affine{Iteration: 1}, MaxLen: 256, Blocks: 512, BlockTokens: 16,
				}}},
				Close: func() error { return trace.Close(source) },
			}
			t.Specs = report.Specs(t.Config.Replicas)
			return t, nil
		}}
	}
	return []Subject{
		subject("sarathi", func() batch.Policy { return &batch.Sarathi{MaxSeqs: 16, Budget: 64, Watermark: 0.01} }),
		subject("vllm", func() batch.Policy { return &batch.VLLM{MaxSeqs: 16, Watermark: 0.01} }),
		subject("orca", func() batch.Policy { return &batch.Orca{MaxSeqs: 16} }),
	}
}

// On a machine that keeps time, all figures hold and the policies stand in the same
// order, although no iteration of a run was in the fit.
func TestValidateClockwork(t *testing.T) {
	if testing.Short() {
		t.Skip("fits a long calibration")
	}
	synctest.Test(t, func(t *testing.T) {
		r, err := Run(t.Context(), &clockwork{}, three(), Options{Seed: 1, Calibration: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if want := 2 * 3 * 4; r.OK != want || r.Off+r.Noisy > 0 || !r.OrderHolds {
			t.Errorf("%s; want all %d figures to hold\n%s", r.Summarise(), want, r.Text())
		}
		for _, l := range r.Loads {
			for _, p := range l.Policies {
				// Small batches are the less efficient: a machine is busier than its load.
				if busy := float64(p.RealBusy); busy < l.Share || busy > 1 {
					t.Errorf("%s: busy %.2f of the time at a load of %.2f", p.Name, busy, l.Share)
				}
				for _, s := range p.Shapes {
					if math.Abs(float64(s.Error)) > 0.05 {
						t.Errorf("%s: iterations %s are off by %+.3f", p.Name, s.Name(), float64(s.Error))
					}
				}
			}
		}
	})
}

// A machine that is slower when it serves than when it was measured is found out.
func TestValidateFindsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		serving := 0
		m := &switched{clockwork: clockwork{served: func(int64) float64 { return 1 + 0.3*float64(min(serving, 1)) }}, resets: &serving}
		r, err := Run(t.Context(), m, three()[:1], Options{Seed: 1, Loads: []float64{0.5}, Calibration: 4 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if r.Off == 0 || r.Noisy > 0 {
			t.Errorf("%s; want figures off\n%s", r.Summarise(), r.Text())
		}
	})
}

// switched is a machine that tells serving from calibration by the requests: those of
// runs count from 0, those of the ladder from 1 and so on.
type switched struct {
	clockwork
	resets *int
}

func (s *switched) Run(ctx context.Context, step *cluster.ExecStep) (cluster.Ran, error) {
	for _, p := range step.Parts {
		if p.Request == 0 { // only runs have a request 0
			*s.resets = 1
		}
	}
	return s.clockwork.Run(ctx, step)
}

func (s *switched) Reset() {
	*s.resets = 0
	s.clockwork.Reset()
}

// A machine whose speed wanders from run to run is called too noisy, not off.
func TestValidateNoise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := sim.Stream(1, "speed")
		speed := 1.0
		m := &wandering{clockwork{served: func(int64) float64 { return speed }}, func() { speed = math.Exp(0.4 * rng.NormFloat64()) }}
		r, err := Run(t.Context(), m, three()[:1], Options{Seed: 1, Loads: []float64{0.5}, Calibration: 4 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if r.Noisy == 0 {
			t.Errorf("%s; want the noise noticed\n%s", r.Summarise(), r.Text())
		}
	})
}

// wandering changes its speed whenever it is reset.
type wandering struct {
	clockwork
	change func()
}

func (w *wandering) Reset() {
	w.change()
	w.clockwork.Reset()
}

// A report can be written as JSON and drawn.
func TestReportIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &clockwork{jitter: sim.Stream(3, "jitter"), scale: 0.03}
		r, err := Run(t.Context(), m, three(), Options{Seed: 2, Loads: []float64{0.7}, Length: 3 * time.Second, Calibration: 6 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := json.Marshal(r); err != nil {
			t.Error(err)
		}
		plots := r.Plots()
		if len(plots) != 2 {
			t.Errorf("%d plots, want TTFT and TBT of one load", len(plots))
		}
		for _, p := range plots {
			var b bytes.Buffer
			if err := p.Chart.Render(&b, chart.SVG); err != nil || !strings.Contains(b.String(), "sarathi, simulated") {
				t.Errorf("%s: %v", p.Name, err)
			}
		}
		text := r.Text()
		for _, want := range []string{"70 % load", "TTFT p50", "decodes alone, 1 token", "with prompts", "same order", "figures within their limits"} {
			if !strings.Contains(text, want) {
				t.Errorf("the text lacks %q:\n%s", want, text)
			}
		}
	})
}

func TestValidateRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for want, o := range map[string]Options{
			"above 0 and below 1": {Loads: []float64{1.2}},
			"a second or more":    {Length: time.Millisecond},
			"longer calibration":  {Calibration: time.Second, Length: time.Second},
		} {
			m := &clockwork{served: func(int64) float64 { return 10 }}
			if _, err := Run(t.Context(), m, three()[:1], o); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want one about %q", err, want)
			}
		}
		down := errors.New("the machine is down")
		if _, err := Run(t.Context(), &clockwork{fault: down}, three(), Options{}); !errors.Is(err, down) {
			t.Errorf("error %v, want that of the machine", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := Run(ctx, &clockwork{}, three(), Options{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want that of the context", err)
		}
	})
}
