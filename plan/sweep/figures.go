package sweep

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"orrery/plan"
	"orrery/report"
)

// Kind says what values a column has.
type Kind uint8

// The kinds of columns. Whole numbers and truths are figures too; as such they are exact up to
// 2^53, and 0 or 1.
const (
	Number Kind = iota
	Whole
	Truth
	Seed // an unsigned integer
	Text
)

// String returns the type as DuckDB has it.
func (k Kind) String() string {
	return [...]string{"DOUBLE", "BIGINT", "BOOLEAN", "UBIGINT", "VARCHAR"}[k]
}

// Figure is a column of the table with a figure of each run.
type Figure struct {
	Name  string // of the column; units stand in it
	Kind  Kind
	About string // one line
	of    func(*report.Result) report.Number
}

// Figures has one number for each of [Columns], in that order. What does not exist is
// [report.None]. In JSON it is an object.
type Figures []report.Number

// Columns returns the figures that the table has of each run.
func Columns() []Figure { return columns }

var columns = distinct(outcomes, compared(), details)

// distinct joins lists of figures. Of two that have a name the first is kept.
func distinct(lists ...[]Figure) (all []Figure) {
	for _, f := range slices.Concat(lists...) {
		if !slices.ContainsFunc(all, func(g Figure) bool { return g.Name == f.Name }) {
			all = append(all, f)
		}
	}
	return all
}

// outcomes come first: whether the run did what was asked of it.
var outcomes = []Figure{
	{"met", Truth, "the objective held; empty without one", func(r *report.Result) report.Number {
		if r.SLO == nil {
			return report.None
		}
		return truth(r.SLO.Met)
	}},
	{"growing", Truth, "the queues grew all through the run, so that it has no steady state", func(r *report.Result) report.Number { return truth(r.Load.Growing) }},
}

// counts are those of the figures below that are whole numbers.
var counts = []string{"preemptions", "unfinished"}

// compared are the figures that all commands compare runs by.
func compared() (list []Figure) {
	for i, m := range plan.Metrics() {
		kind := Number
		if slices.Contains(counts, m.Key) {
			kind = Whole
		}
		list = append(list, Figure{m.Key, kind, m.Label, func(r *report.Result) report.Number {
			return report.Number(plan.Observe(r).Values[i])
		}})
	}
	return list
}

// details are what else one may want of many runs.
var details = []Figure{
	{"ttft_mean_s", Number, "time to first token, mean", func(r *report.Result) report.Number { return r.Latency.TTFT.WithUnfinished.MeanS }},
	{"ttft_p90_s", Number, "time to first token, p90", func(r *report.Result) report.Number { return r.Latency.TTFT.WithUnfinished.P90S }},
	{"tbt_mean_s", Number, "time between tokens, mean", func(r *report.Result) report.Number { return r.Latency.TBT.WithUnfinished.MeanS }},
	{"tbt_max_s", Number, "longest time between tokens", func(r *report.Result) report.Number { return r.Latency.TBT.WithUnfinished.MaxS }},
	{"tpot_mean_s", Number, "mean gap of a request, mean over requests", func(r *report.Result) report.Number { return r.Latency.TPOT.WithUnfinished.MeanS }},
	{"tpot_p50_s", Number, "mean gap of a request, p50", func(r *report.Result) report.Number { return r.Latency.TPOT.WithUnfinished.P50S }},
	{"tpot_p99_s", Number, "mean gap of a request, p99", func(r *report.Result) report.Number { return r.Latency.TPOT.WithUnfinished.P99S }},
	{"e2e_mean_s", Number, "arrival to last token, mean", func(r *report.Result) report.Number { return r.Latency.E2E.WithUnfinished.MeanS }},
	{"e2e_p90_s", Number, "arrival to last token, p90", func(r *report.Result) report.Number { return r.Latency.E2E.WithUnfinished.P90S }},
	{"good_share", Number, "part of the requests that met their bounds", func(r *report.Result) report.Number {
		if r.SLO == nil {
			return report.None
		}
		return r.SLO.GoodShare
	}},
	{"arrived_per_s", Number, "requests that arrived", func(r *report.Result) report.Number { return r.Throughput.ArrivedPerS }},
	{"total_tokens_per_s", Number, "tokens emitted, and prompts whose prefill ended", func(r *report.Result) report.Number { return r.Throughput.TotalTokensPerS }},
	{"arrived", Whole, "requests that arrived, over the whole run as all that follow", func(r *report.Result) report.Number { return report.Number(r.Requests.Arrived) }},
	{"finished", Whole, "requests that finished", func(r *report.Result) report.Number { return report.Number(r.Requests.Finished) }},
	{"rejected", Whole, "requests that were rejected", func(r *report.Result) report.Number { return report.Number(r.Requests.Rejected) }},
	{"failed", Whole, "requests that ended without success", func(r *report.Result) report.Number { return report.Number(r.Requests.Failed) }},
	{"prompt_tokens", Whole, "prompt tokens whose prefill ended", func(r *report.Result) report.Number { return report.Number(r.Tokens.Prompt) }},
	{"output_tokens", Whole, "tokens emitted", func(r *report.Result) report.Number { return report.Number(r.Tokens.Output) }},
	{"cached_tokens", Whole, "prompt tokens found in the prefix cache", func(r *report.Result) report.Number { return report.Number(r.Tokens.Cached) }},
	{"loaded_tokens", Whole, "tokens that the prefix cache brought back from host memory", func(r *report.Result) report.Number { return report.Number(r.Tokens.Loaded) }},
	{"recomputed_tokens", Whole, "tokens computed again", func(r *report.Result) report.Number { return report.Number(r.Tokens.Recomputed) }},
	{"in_system_mean", Number, "requests in the system, mean over time", func(r *report.Result) report.Number { return r.Load.SystemMean }},
	{"running_mean", Number, "requests admitted to replicas, mean over time", func(r *report.Result) report.Number { return r.Load.RunningMean }},
	{"waiting_mean", Number, "requests in queues, mean over time", func(r *report.Result) report.Number { return r.Load.WaitingMean }},
	{"kv_peak_share", Number, "KV use of the replica that came closest to its capacity", func(r *report.Result) report.Number { return r.Load.KVPeakShare }},
	{"iterations", Whole, "iterations", func(r *report.Result) report.Number { return report.Number(r.Iterations.Count) }},
	{"batch_mean", Number, "sequences of an iteration, mean", func(r *report.Result) report.Number { return r.Iterations.BatchMean }},
	{"iteration_mean_s", Number, "length of an iteration, mean", func(r *report.Result) report.Number { return r.Iterations.LengthMeanS }},
	{"gpu_hours", Number, "hours of devices provisioned", func(r *report.Result) report.Number { return r.Cost.GPUHours }},
	{"gpu_hours_busy", Number, "hours of devices at work", func(r *report.Result) report.Number { return r.Cost.GPUHoursBusy }},
	{"price", Number, "price of gpu_hours, in the currency of the prices", func(r *report.Result) report.Number { return r.Cost.Price }},
	{"energy_j", Number, "energy of all devices", func(r *report.Result) report.Number { return r.Cost.EnergyJ }},
	{"watts_mean", Number, "power of a device, mean", func(r *report.Result) report.Number { return r.Cost.WattsMean }},
	{"window_s", Number, "simulated time that was measured", func(r *report.Result) report.Number { return report.Number(r.WindowS) }},
	{"end_s", Number, "simulated time of the end", func(r *report.Result) report.Number { return report.Number(r.EndS) }},
}

func truth(b bool) report.Number {
	if b {
		return 1
	}
	return 0
}

// figuresOf returns the figures of a result.
func figuresOf(r *report.Result) Figures {
	f := make(Figures, len(columns))
	for i := range columns {
		f[i] = columns[i].of(r)
		if !f[i].Exists() {
			f[i] = report.None // infinities as well, which JSON has not
		}
	}
	return f
}

// MarshalJSON writes the figures as an object in the order of the columns.
func (f Figures) MarshalJSON() ([]byte, error) {
	if f == nil {
		return []byte("null"), nil
	}
	var b bytes.Buffer
	for i, v := range f {
		text, err := v.MarshalJSON()
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%c%q:%s", "{,"[min(i, 1)], columns[i].Name, text)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// UnmarshalJSON reads what MarshalJSON wrote. It fails if the figures are others.
func (f *Figures) UnmarshalJSON(data []byte) error {
	var by map[string]report.Number
	if err := json.Unmarshal(data, &by); err != nil {
		return err
	}
	*f = nil
	if by == nil {
		return nil
	}
	if len(by) != len(columns) {
		return fmt.Errorf("%d figures; want %d", len(by), len(columns))
	}
	*f = make(Figures, len(columns))
	for i := range columns {
		v, ok := by[columns[i].Name]
		if !ok {
			return fmt.Errorf("no figure %s", columns[i].Name)
		}
		(*f)[i] = v
	}
	return nil
}
