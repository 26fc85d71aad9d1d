package report_test

import (
	"context"
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"orrery/cluster"
	"orrery/policies/denoise"
	"orrery/sim"
)

// mlperfRow is a server run of SDXL with what is known of the machine: all but the
// latencies goes into the simulation.
type mlperfRow struct {
	id, system          string
	gpus, batch         int
	queries             int // fewest of a run
	timeout             time.Duration
	offline             float64 // images per second of all GPUs
	eights              float64 // S in batches of the server's size by what the offline run says of it, about 1
	rate                float64 // arrivals per second that the run achieved
	mean, p50, p90, p99 float64
}

func (r *mlperfRow) load() float64 { return r.rate / r.offline }

// full returns S of a full batch by the offline run, in seconds.
func (r *mlperfRow) full() float64 { return float64(r.batch*r.gpus) / r.offline }

// inEights returns the row with S taken from batches of the server's size.
func (r mlperfRow) inEights() *mlperfRow {
	r.offline /= r.eights
	return &r
}

// measured is a program whose time by batch is a line through measured points; how
// it divides among encoder, steps and decoder does not matter to a batch that runs
// as a whole.
type measured struct {
	fixed, each time.Duration
	steps       int
}

func (m measured) Steps() int               { return m.steps }
func (m measured) Encode(int) time.Duration { return 0 }
func (m measured) Step(_, n int) time.Duration {
	return (m.fixed + time.Duration(n)*m.each) / time.Duration(m.steps)
}
func (m measured) Decode(int) time.Duration { return 0 }
func (m measured) Memory(int) int64         { return 0 }
func (m measured) Group() int               { return 0 }

// fixedShare is the part of S(8) that does not depend on the batch. GH200's own log
// has a batch of one (its smallest latency, 1.108 s at 2.30 images/s offline, where
// S(8) is 3.47 s): S(1)/S(8) = 0.319, hence S = S(8) (0.222 + 0.0972 b). No other log
// has so small a batch; for the two rows of that machine it is a figure of their own run,
// though none of those that are compared.
const fixedShare = (0.3193*8 - 1) / 7

func (r *mlperfRow) program() measured {
	full := r.full()
	fixed := full * fixedShare
	if r.batch == 1 {
		fixed = 0
	}
	seconds := func(s float64) time.Duration { return time.Duration(s * 1e9) }
	return measured{fixed: seconds(fixed), each: seconds((full - fixed) / float64(r.batch)), steps: 20}
}

// simulate returns mean, p50, p90 and p99 over runs as long as the real one: close to
// saturation queues grow over hours, and ten minutes say little of a steady state.
func (r *mlperfRow) simulate(rate float64, runs ...func() gapper) ([4]float64, error) {
	var all []float64
	n := max(int(rate*600), r.queries)
	for _, gaps := range runs {
		s := &sojourns{}
		_, err := cluster.Run(context.Background(), cluster.Config{
			Source: counted(gaps, rate, n), Classes: []cluster.Class{{Name: "SDXL"}}, Record: []cluster.Recorder{s},
			Pools: []cluster.PoolConfig{{
				Devices: r.gpus, Policy: &denoise.BatchTimeout{Batch: r.batch, Timeout: r.timeout}, Programs: [][]cluster.Program{{r.program()}},
			}},
		})
		if err != nil {
			return [4]float64{}, err
		}
		all = append(all, s.all...)
	}
	slices.Sort(all)
	sum := 0.0
	for _, v := range all {
		sum += v
	}
	q := func(p float64) float64 { return all[int(p*float64(len(all)))] }
	return [4]float64{sum / float64(len(all)), q(.5), q(.9), q(.99)}, nil
}

// counted returns a stream of n requests of which it is known that they arrive in
// n/rate seconds, which is what a log says of its run: gaps are scaled to that.
func counted(gaps func() gapper, rate float64, n int) *stream {
	sum, g := 0.0, gaps()
	for range n {
		sum += g.ExpFloat64()
	}
	s := &stream{rate: rate * sum / float64(n), classes: 1, left: n, gaps: gaps(), kinds: sim.Stream(0, "classes")}
	s.draw()
	return s
}

type gapper interface{ ExpFloat64() float64 }

// mlperfRows reads the server runs whose batcher is known, each with the offline run
// of the same submitter and system.
func mlperfRows(t *testing.T) []mlperfRow {
	t.Helper()
	name := filepath.Join("..", "..", "shared", "data", "diffusion", "mlperf_sdxl.csv")
	f, err := os.Open(name)
	if os.IsNotExist(err) {
		t.Skipf("%s: the measurements are not part of the project", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := map[string]int{}
	for i, n := range all[0] {
		column[n] = i
	}
	text := func(row []string, name string) string { return row[column[name]] }
	num := func(row []string, name string) float64 {
		v, _ := strconv.ParseFloat(text(row, name), 64)
		return v
	}
	offline := map[string][]string{}
	for _, row := range all[1:] {
		if text(row, "scenario") == "Offline" {
			offline[text(row, "submitter")+text(row, "system")] = row
		}
	}
	var rows []mlperfRow
	for _, row := range all[1:] {
		run := offline[text(row, "submitter")+text(row, "system")]
		if run == nil {
			continue
		}
		r := mlperfRow{
			id: text(row, "row_id"), system: text(row, "submitter") + " " + text(row, "gpu"), gpus: int(num(row, "gpu_count")), batch: int(num(row, "max_batch_end_to_end")),
			queries: int(num(row, "min_query_count")),
			timeout: time.Duration(num(row, "batcher_timeout_s") * 1e9), offline: num(run, "completed_per_s"),
			rate: num(row, "scheduled_per_s"), mean: num(row, "lat_mean_s"), p50: num(row, "lat_p50_s"), p90: num(row, "lat_p90_s"), p99: num(row, "lat_p99_s"),
		}
		if text(row, "scenario") == "Server" && r.batch > 0 && r.offline > 0 && !math.IsNaN(r.rate) {
			r.eights = eights(&r, num(row, "lat_min_s"), num(run, "lat_min_s"), int(num(run, "max_batch_end_to_end")))
			rows = append(rows, r)
		}
	}
	likeH200(rows)
	return rows
}

// eights returns what S of a full batch of the server is by the S that the offline run
// says, whose batches may be larger and so do better. The smallest latency of a server
// log is a full batch that did not wait; by how much the mean is above the
// smallest is taken from the offline run, whose smallest latency is its first batch.
// It returns 0 where a server's smallest latency was of a smaller batch.
func eights(r *mlperfRow, smallest, first float64, batch int) float64 {
	if batch == r.batch {
		return 1
	}
	if smallest < 0.9*r.full() {
		return 0
	}
	mean := float64(batch*r.gpus) / r.offline
	return smallest * mean / first / r.full()
}

// likeH200 gives rows of which it is not known the mean of the H200 rows: GH200 with
// 144 GB has that chip and that memory.
func likeH200(rows []mlperfRow) {
	sum, n := 0.0, 0.0
	for i := range rows {
		if strings.Contains(rows[i].system, " H200") {
			sum += rows[i].eights
			n++
		}
	}
	for i := range rows {
		if rows[i].eights == 0 {
			rows[i].eights = sum / n
		}
	}
}

// poisson returns streams of gaps with seeds from 0.
func poisson(n int) []func() gapper {
	runs := make([]func() gapper, n)
	for seed := range runs {
		runs[seed] = func() gapper { return sim.Stream(uint64(seed), "arrivals") }
	}
	return runs
}

// Up to 90 % load the mean is to be within 5 % and p99 within 15 %, with S from batches of
// the server's size; with S from an offline run in batches of 32 GH200 misses that, and
// its miss must not grow unnoticed. Rows above 90 % are told, not judged;
// docs/diffusion-serving.md has them.
func TestMLPerfServerRunsOfSDXL(t *testing.T) {
	judged := 0
	for _, r := range mlperfRows(t) {
		plain, err := r.simulate(r.rate, poisson(40)...)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.inEights().simulate(r.rate, poisson(40)...)
		if err != nil {
			t.Fatal(err)
		}
		mean, p99 := got[0]/r.mean-1, got[3]/r.p99-1
		t.Logf("| %s | %s x%d | %.0f %% | %.2f / %.2f / %.2f / %.2f | %+.0f %%, %+.0f %% | %+.1f %% | %.2f / %.2f / %.2f / %.2f | %+.0f %%, %+.0f %% |", r.id, r.system, r.gpus, 100*r.load(),
			r.mean, r.p50, r.p90, r.p99, 100*(plain[0]/r.mean-1), 100*(plain[3]/r.p99-1), 100*(r.eights-1), got[0], got[1], got[2], got[3], 100*mean, 100*p99)
		if r.load() > 0.9 {
			continue
		}
		judged++
		if offline := plain[0]/r.mean - 1; math.Abs(offline) > 0.20 {
			t.Errorf("%s: mean %+.1f %% with S from the offline run; was within 20 %%", r.id, 100*offline)
		}
		if math.Abs(mean) > 0.05 || math.Abs(p99) > 0.15 {
			t.Errorf("%s: mean %+.1f %%, p99 %+.1f %%; want within 5 %% and 15 %%", r.id, 100*mean, 100*p99)
		}
	}
	if judged == 0 {
		t.Error("no row at 90 % load or less")
	}
}

// Where a run came within 1.1 s of the bound of 20 s, its rate is nearly the one at
// which p99 crosses it; the simulation finds that rate within 3 %, by either S.
func TestMLPerfRateAtWhichP99Crosses(t *testing.T) {
	for _, r := range mlperfRows(t) {
		if r.p99 < 18.9 || r.p99 > 20 {
			continue
		}
		plain, eights := r.crossing(t), r.inEights().crossing(t)
		t.Logf("| %s | %s x%d | %.2f | %.2f | %.2f, %+.1f %% | %.2f, %+.1f %% |", r.id, r.system, r.gpus, r.p99, r.rate,
			plain, 100*(plain/r.rate-1), eights, 100*(eights/r.rate-1))
		for _, rate := range []float64{plain, eights} {
			if math.Abs(rate/r.rate-1) > 0.03 {
				t.Errorf("%s: p99 crosses %.2f s at %.2f/s, measured %.2f/s", r.id, r.p99, rate, r.rate)
			}
		}
	}
}

// crossing returns the rate at which p99 crosses what was measured.
func (r *mlperfRow) crossing(t *testing.T) float64 {
	t.Helper()
	low, high := 0.8*r.rate, 1.2*r.rate
	for high-low > 0.001*r.rate {
		middle := (low + high) / 2
		got, err := r.simulate(middle, poisson(10)...)
		if err != nil {
			t.Fatal(err)
		}
		if got[3] < r.p99 {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

var _ cluster.Program = measured{}
