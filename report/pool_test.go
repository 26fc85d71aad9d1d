package report_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"orrery/cluster"
	"orrery/policies/denoise"
	"orrery/report"
	"orrery/sim"
	"orrery/workloads"
)

// affine is a program whose parts take time in proportion to a constant and the
// number of images.
type affine struct {
	steps, group     int
	fixed, each      time.Duration // of a step
	encode, decode   time.Duration // an image
	weights, perItem int64
}

func (a affine) Steps() int                  { return a.steps }
func (a affine) Encode(n int) time.Duration  { return time.Duration(n) * a.encode }
func (a affine) Step(_, n int) time.Duration { return a.fixed + time.Duration(n)*a.each }
func (a affine) Decode(n int) time.Duration  { return time.Duration(n) * a.decode }
func (a affine) Memory(n int) int64          { return a.weights + int64(n)*a.perItem }
func (a affine) Group() int                  { return a.group }

// stream is a Poisson stream of images of classes drawn evenly.
type stream struct {
	rate    float64
	classes int32
	left    int
	next    workloads.Request
	gaps    interface{ ExpFloat64() float64 }
	kinds   interface{ Int32N(int32) int32 }
	at      float64
}

func newStream(seed uint64, rate float64, classes int32, n int) *stream {
	s := &stream{rate: rate, classes: classes, left: n, gaps: sim.Stream(seed, "arrivals"), kinds: sim.Stream(seed, "classes")}
	s.draw()
	return s
}

func (s *stream) draw() {
	s.at += s.gaps.ExpFloat64() / s.rate
	s.next = workloads.Request{Arrived: sim.Seconds(s.at), Prompt: 1, Output: 20, Class: 1 + s.kinds.Int32N(s.classes)}
}

func (s *stream) Peek() (sim.Time, bool) { return s.next.Arrived, s.left > 0 }

func (s *stream) Next() workloads.Request {
	r := s.next
	s.left--
	s.draw()
	return r
}

// judged runs a configuration under all laws and returns its outcome and fingerprint.
func judged(cfg cluster.Config) (cluster.Outcome, string, error) {
	laws := &report.Laws{Replicas: report.PoolSpecs(cfg.Pools)}
	print := &report.Fingerprint{}
	cfg.Record = append(cfg.Record, laws, print)
	out, err := cluster.Run(context.Background(), cfg)
	if err != nil {
		return out, "", err
	}
	return out, print.String(), laws.Close(out.End, -1)
}

// policyOf returns each policy there is, by number.
func policyOf(kind, batch int) denoise.Policy {
	switch kind {
	case 0:
		return &denoise.FIFO{Batch: batch}
	case 1:
		return &denoise.BatchTimeout{Batch: batch, Timeout: 3 * time.Second}
	case 2:
		return &denoise.Continuous{Batch: batch}
	case 3:
		return &denoise.Shortest{Batch: batch, Aging: 0.5}
	case 4:
		return &denoise.Ladder{Batch: batch}
	default:
		c := &denoise.Cascade{Share: 0.4, Rand: sim.Stream(1, "judge")}
		c.Batch = batch
		return c
	}
}

// Whatever the pool, the laws hold, nothing gets lost, results repeat, and crossing
// steps in one jump changes nothing.
func TestPoolsObeyTheLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			seed    = rapid.Uint64().Draw(t, "seed")
			classes = rapid.IntRange(1, 3).Draw(t, "classes")
			pools   = rapid.IntRange(1, 2).Draw(t, "pools")
			n       = rapid.IntRange(1, 200).Draw(t, "requests")
			rate    = rapid.Float64Range(0.1, 20).Draw(t, "rate")
			until   = rapid.SampledFrom([]sim.Time{0, sim.Seconds(7)}).Draw(t, "until")
			spread  = rapid.SampledFrom([]cluster.Spread{cluster.LeastLoaded, cluster.Cheapest}).Draw(t, "spread")
		)
		type sketch struct{ kind, batch, devices, group, memory int }
		drawn := make([]sketch, pools)
		steps := make([]int, 2*classes)
		for i := range steps {
			steps[i] = rapid.IntRange(1, 25).Draw(t, "steps")
		}
		for i := range drawn {
			drawn[i] = sketch{
				rapid.IntRange(0, 5).Draw(t, "policy"), rapid.IntRange(1, 8).Draw(t, "batch"), rapid.IntRange(1, 4).Draw(t, "devices"),
				rapid.IntRange(0, 1).Draw(t, "groups"), rapid.IntRange(3, 20).Draw(t, "memory"),
			}
		}
		config := func(step bool) cluster.Config {
			cfg := cluster.Config{Source: newStream(seed, rate, int32(classes), n), Until: until, Spread: spread, Step: step}
			for c := range classes {
				cfg.Classes = append(cfg.Classes, cluster.Class{Name: fmt.Sprint(c), Deadline: 4 * time.Second})
			}
			for _, d := range drawn {
				p := cluster.PoolConfig{Devices: d.devices, Policy: policyOf(d.kind, d.batch), Memory: int64(6 + d.memory)}
				for c := range classes {
					var rungs []cluster.Program
					for r := range 2 {
						rungs = append(rungs, affine{
							steps: steps[2*c+r], group: d.group * c, fixed: 20 * time.Millisecond, each: time.Duration(20+10*c) * time.Millisecond,
							encode: 5 * time.Millisecond, decode: 50 * time.Millisecond, weights: 1, perItem: int64(1 + c),
						})
					}
					p.Programs = append(p.Programs, rungs)
				}
				cfg.Pools = append(cfg.Pools, p)
			}
			return cfg
		}
		out, first, err := judged(config(false))
		if err != nil {
			t.Fatal(err)
		}
		if out.Rejected > 0 || until == 0 && out.Finished != int64(n) {
			t.Fatalf("%d of %d finished, %d rejected", out.Finished, n, out.Rejected)
		}
		if _, again, _ := judged(config(false)); again != first {
			t.Fatal("the same run differs")
		}
		if _, plain, err := judged(config(true)); err != nil || plain != first {
			t.Fatalf("step by step the run differs: %v", err)
		}
	})
}

// sojourns collects what requests take and how long they wait.
type sojourns struct {
	warm        int
	n           int
	total, wait float64
	all         []float64
}

func (s *sojourns) Record(r *cluster.Record) {
	if r.What != cluster.Finished {
		return
	}
	if s.n++; s.n <= s.warm {
		return
	}
	s.total += r.At.Sub(r.Request.Arrived).Seconds()
	s.wait += r.Request.Scheduled.Sub(r.Request.Arrived).Seconds()
	s.all = append(s.all, r.At.Sub(r.Request.Arrived).Seconds())
}

// one returns a run of one class on like devices.
func one(policy denoise.Policy, devices int, program cluster.Program, rate float64, n int, seed uint64) (*sojourns, error) {
	s := &sojourns{warm: n / 20}
	_, err := cluster.Run(context.Background(), cluster.Config{
		Source: newStream(seed, rate, 1, n), Classes: []cluster.Class{{Name: "image"}}, Record: []cluster.Recorder{s},
		Pools: []cluster.PoolConfig{{Devices: devices, Policy: policy, Memory: 1 << 40, Programs: [][]cluster.Program{{program}}}},
	})
	return s, err
}

// Images one at a time on c devices are M/D/c, whose mean wait Crommelin knew.
func TestImagesOneAtATimeAreMDC(t *testing.T) {
	program := affine{steps: 20, fixed: 0, each: 50 * time.Millisecond} // one second
	for _, c := range []struct {
		devices int
		rho     float64
	}{{1, 0.5}, {1, 0.8}, {2, 0.8}, {4, 0.7}} {
		const n = 400_000
		s, err := one(&denoise.FIFO{Batch: 1}, c.devices, program, c.rho*float64(c.devices), n, 7)
		if err != nil {
			t.Fatal(err)
		}
		got, want := s.wait/float64(len(s.all)), crommelin(c.devices, c.rho)
		if math.Abs(got-want) > 0.03*want {
			t.Errorf("M/D/%d at %.1f: mean wait %.4f s, theory %.4f s", c.devices, c.rho, got, want)
		}
	}
}

// crommelin returns the mean wait of M/D/c with service time 1 (Crommelin, 1932):
//
//	W = sum over i >= 1 of exp(-i a) [ sum over j >= ic of (ia)^j / j!  -  (1/rho) sum over j > ic of (ia)^j / j! ]
//
// with a = c rho.
func crommelin(c int, rho float64) float64 {
	a := float64(c) * rho
	w := 0.0
	for i := 1; i < 400; i++ {
		x := float64(i) * a
		term := func(j int) float64 {
			g, _ := math.Lgamma(float64(j + 1))
			return math.Exp(float64(j)*math.Log(x) - x - g)
		}
		at, above := term(i*c), 0.0
		for j := i*c + 1; j < i*c+4000; j++ {
			v := term(j)
			above += v
			if v < 1e-18 && float64(j) > x {
				break
			}
		}
		w += at + above - above/rho
	}
	return w
}

// Images of two lengths, one at a time on one device, are M/G/1: Pollaczek and
// Khinchine give W = lambda E[S^2] / (2 (1 - rho)).
func TestImagesOfTwoLengthsAreMG1(t *testing.T) {
	const n, rate = 400_000, 0.4
	s := &sojourns{warm: n / 20}
	short, long := affine{steps: 10, each: 100 * time.Millisecond}, affine{steps: 30, each: 100 * time.Millisecond} // 1 s and 3 s
	_, err := cluster.Run(context.Background(), cluster.Config{
		Source: newStream(11, rate, 2, n), Classes: []cluster.Class{{Name: "short"}, {Name: "long"}}, Record: []cluster.Recorder{s},
		Pools: []cluster.PoolConfig{{Devices: 1, Policy: &denoise.FIFO{Batch: 1}, Programs: [][]cluster.Program{{short}, {long}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, want := s.wait/float64(len(s.all)), rate*5/(2*(1-rate*2)) // E[S] 2 s, E[S^2] 5 s^2
	if math.Abs(got-want) > 0.03*want {
		t.Errorf("mean wait %.3f s, theory %.3f s", got, want)
	}
}

// A device that takes all who wait, in a time D that does not depend on how many, is a
// bulk queue with a closed form. Those who come during a service, lambda D on average,
// wait D/2 for its end; if none came, with probability exp(-lambda D), the next waits
// not at all.
func TestUnlimitedBatchesAreABulkQueue(t *testing.T) {
	for _, load := range []float64{0.5, 2, 10} { // lambda D, with D of one second
		s, err := one(&denoise.FIFO{Batch: 1000}, 1, affine{steps: 20, fixed: 50 * time.Millisecond}, load, 200_000, 5)
		if err != nil {
			t.Fatal(err)
		}
		got, want := s.wait/float64(len(s.all)), load/2/(load+math.Exp(-load))
		if math.Abs(got-want) > 0.01*want {
			t.Errorf("at %g arrivals in a service: mean wait %.4f s, theory %.4f s", load, got, want)
		}
	}
}

// A ladder under load trades quality for time: with one device at twice what the best
// quality can take, all images still meet a deadline that first-come-first-served
// with the best quality misses, and the report counts what that cost.
func TestLadderTradesQualityForDeadlines(t *testing.T) {
	run := func(policy denoise.Policy) *report.Result {
		classes := []cluster.Class{{Name: "portrait", Deadline: 10 * time.Second}}
		pools := []cluster.PoolConfig{{Devices: 1, Policy: policy, Memory: 100, Programs: [][]cluster.Program{{
			affine{steps: 20, each: 50 * time.Millisecond, perItem: 10}, // a second an image
			affine{steps: 4, each: 50 * time.Millisecond, perItem: 10},
		}}}}
		m := report.NewMetrics(report.Config{Replicas: report.PoolSpecs(pools), Classes: report.ClassSpecs(classes)})
		laws := &report.Laws{Replicas: report.PoolSpecs(pools)}
		out, err := cluster.Run(context.Background(), cluster.Config{
			Source: newStream(3, 2, 1, 2000), Classes: classes, Pools: pools, Record: []cluster.Recorder{m, laws},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := laws.Close(out.End, -1); err != nil {
			t.Fatal(err)
		}
		m.Close(out.End)
		return m.Summary()
	}
	plain, ladder := run(&denoise.FIFO{Batch: 4}), run(&denoise.Ladder{Batch: 4})
	p, l := plain.Classes[0], ladder.Classes[0]
	if p.Finished != 2000 || l.Finished != 2000 || p.Missed < 1000 || l.Missed > 20 {
		t.Errorf("first come: %d of %d late; ladder: %d of %d; want most and hardly any", p.Missed, p.Finished, l.Missed, l.Finished)
	}
	if len(l.Rungs) != 2 || l.Rungs[0] < 100 || l.Rungs[0]+l.Rungs[1] != 2000 {
		t.Errorf("images by alternative: %v; want both, 2000 in all", l.Rungs)
	}
	if want := 20*l.Rungs[0] + 4*l.Rungs[1]; l.Steps != want || ladder.Tokens.Output != want {
		t.Errorf("%d steps, %d in all; the alternatives take %d", l.Steps, ladder.Tokens.Output, want)
	}
	if v := ladder.Verdict(); !strings.Contains(v, "img/s") || strings.Contains(v, "tok") || strings.Contains(v, "TTFT") {
		t.Errorf("the verdict of images speaks of tokens:\n%s", v)
	}
	if j, err := ladder.JSON(); err != nil || !bytes.Contains(j, []byte(`"name": "portrait"`)) {
		t.Errorf("result.json has no class: %v", err)
	}
}

// Images that share steps join and leave between them: an image that comes while
// another runs is done long before that would let it begin on its own, and both take
// the time of a batch of two only while they overlap.
func TestContinuousJoinsBetweenSteps(t *testing.T) {
	s := &sojourns{}
	_, err := cluster.Run(context.Background(), cluster.Config{
		Source:  &given{at: []float64{0, 1.05}},
		Classes: []cluster.Class{{Name: "image"}}, Record: []cluster.Recorder{s},
		Pools: []cluster.PoolConfig{{Devices: 1, Policy: &denoise.Continuous{Batch: 2}, Programs: [][]cluster.Program{{
			affine{steps: 20, fixed: 80 * time.Millisecond, each: 20 * time.Millisecond},
		}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	// The first goes 11 steps of 0.1 s alone (the second waits for the end of the
	// eleventh, at 1.1 s), then 9 of 0.12 s; the second those 9 and 11 of 0.1 s.
	want := []float64{1.1 + 9*0.12, 0.05 + 9*0.12 + 11*0.1}
	for i := range want {
		if math.Abs(s.all[i]-want[i]) > 1e-9 {
			t.Errorf("image %d took %.4f s, want %.4f s", i, s.all[i], want[i])
		}
	}
}

// given is a source of images at given times.
type given struct{ at []float64 }

func (g *given) Peek() (sim.Time, bool) {
	if len(g.at) == 0 {
		return 0, false
	}
	return sim.Seconds(g.at[0]), true
}

func (g *given) Next() workloads.Request {
	at, _ := g.Peek()
	g.at = g.at[1:]
	return workloads.Request{Arrived: at, Prompt: 1, Output: 20, Class: 1}
}
