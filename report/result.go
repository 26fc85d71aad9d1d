package report

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Schema is the version of the layout of result.json. It rises when a field
// changes its meaning or goes away, not when one is added.
const Schema = 1

// Identity says which run a result is of. The caller fills it in.
type Identity struct {
	RunID    string   `json:"run_id"`
	Scenario string   `json:"scenario"`
	Version  string   `json:"version"` // of the program
	Seed     uint64   `json:"seed"`
	Model    string   `json:"model"`
	Device   string   `json:"device"` // with count and parallelism, as people say it: "4 x A100-80GB-SXM, TP2 PP2"
	Policy   string   `json:"policy"`
	Traffic  string   `json:"traffic"`
	Flags    []string `json:"flags"` // doubts about the figures, such as "uncalibrated device"
	Notes    []string `json:"notes"` // how the scenario was interpreted
	// Fingerprint is the hash of the log, empty if it was not taken.
	Fingerprint string `json:"fingerprint"`
	// Partial marks a run that was stopped before its end; its figures cover what
	// had happened by then.
	Partial bool `json:"partial"`
}

// Result is everything that is reported of a run. Units stand in the names of the
// fields: _s is seconds, _tokens tokens, _share a part of one. Figures that do not
// exist are null. The order of the keys is that of the fields.
type Result struct {
	Schema int `json:"schema"`
	Identity
	EndS    float64 `json:"end_s"`     // simulated time of the end
	WarmUpS float64 `json:"warm_up_s"` // start of the measuring window
	WindowS float64 `json:"window_s"`  // its length; summed over the runs, if several were merged
	Runs    int     `json:"runs"`

	Requests   Requests   `json:"requests"`
	Tokens     Tokens     `json:"tokens"`
	Latency    Latency    `json:"latency"`
	Throughput Throughput `json:"throughput"`
	SLO        *SLOResult `json:"slo"` // null if none is stated
	Load       Load       `json:"load"`
	Iterations Iterations `json:"iterations"`
	Replicas   []Replica  `json:"replicas"`
	Cost       Cost       `json:"cost"`
	Limit      Limit      `json:"limit"`
	Series     Series     `json:"series"`

	// Classes has the classes of images, absent if all is text. Where requests of pools are
	// counted in figures above, a token is a denoising step, and a block of KV cache a byte.
	Classes []Class `json:"classes,omitempty"`

	// Tiers has the service classes of texts, absent if there is but one.
	Tiers []Tier `json:"tiers,omitempty"`

	// Measurement is there if a real server was measured.
	Measurement *Measurement `json:"measurement,omitempty"`

	// Curves are the distributions for plots; they are not part of the JSON.
	Curves Curves `json:"-"`
}

// Requests counts requests over the whole run:
// Arrived = Finished + Rejected + Failed + Unfinished.
type Requests struct {
	Arrived    int64 `json:"arrived"`
	Finished   int64 `json:"finished"`
	Rejected   int64 `json:"rejected"`
	Failed     int64 `json:"failed"`
	Unfinished int64 `json:"unfinished"`
	// RejectedBy has the rejections by reason, and FailedBy the failures, absent if there
	// are none.
	RejectedBy []Rejection `json:"rejected_by"`
	FailedBy   []Rejection `json:"failed_by,omitempty"`
	// Measured counts those that arrived in the window and finished: the samples
	// of the latencies.
	Measured            int64 `json:"measured"`
	Preemptions         int64 `json:"preemptions"`
	Swaps               int64 `json:"swaps"` // those of the pre-emptions that moved the KV cache to host memory
	PreemptedRepeatedly int64 `json:"preempted_repeatedly"`
	// ReplicasLost counts how often a request lost its replica.
	ReplicasLost int64 `json:"replicas_lost"`
	// AdapterLoads counts how often a replica loaded a LoRA adapter; absent if none did.
	AdapterLoads int64 `json:"adapter_loads,omitempty"`
}

// Rejection counts the rejections or failures for one reason.
type Rejection struct {
	Reason string `json:"reason"`
	Count  int64  `json:"count"`
}

// Tokens counts tokens over the whole run.
type Tokens struct {
	Prompt     int64 `json:"prompt"`     // of requests whose prefill ended
	Output     int64 `json:"output"`     // emitted
	Cached     int64 `json:"cached"`     // prompt tokens found in the prefix cache
	Loaded     int64 `json:"loaded"`     // tokens that the prefix cache brought back from host memory
	Recomputed int64 `json:"recomputed"` // computed again after pre-emptions and on another replica
	Lost       int64 `json:"lost"`       // computed on replicas that failed
}

// Latency has the latencies of the requests that arrived in the window.
type Latency struct {
	TTFT            Delay `json:"ttft"`             // arrival to first token
	TBT             Delay `json:"tbt"`              // gaps between tokens of a request, over all tokens
	TPOT            Delay `json:"tpot"`             // mean gap of a request, over requests
	E2E             Delay `json:"e2e"`              // arrival to last token
	SchedulingDelay Delay `json:"scheduling_delay"` // arrival to the start of the first iteration
}

// Delay is one latency, without and with the requests that were unfinished at the
// end. Their delays are known, or longer than the time until the end, which stands
// for them: so quantiles of WithUnfinished are lower bounds, and a run cut during
// an overload shows how far finished requests alone flatter it. (All gaps between
// tokens are in TBT; there WithUnfinished adds the gaps open at the end.)
type Delay struct {
	Quantiles
	WithUnfinished Quantiles `json:"with_unfinished"`
}

// Quantiles summarises a distribution of durations in seconds.
type Quantiles struct {
	Count int64  `json:"count"`
	MeanS Number `json:"mean_s"`
	P50S  Number `json:"p50_s"`
	P90S  Number `json:"p90_s"`
	P99S  Number `json:"p99_s"`
	P999S Number `json:"p999_s"`
	MaxS  Number `json:"max_s"`
}

// Throughput has rates over the window.
type Throughput struct {
	ArrivedPerS      Number `json:"arrived_per_s"`
	RequestsPerS     Number `json:"requests_per_s"`      // finished
	OutputTokensPerS Number `json:"output_tokens_per_s"` // emitted
	TotalTokensPerS  Number `json:"total_tokens_per_s"`  // emitted, and prompts whose prefill ended
}

// SLOResult compares the run with its service-level objective.
type SLOResult struct {
	Met    bool    `json:"met"` // every bound held
	Bounds []Bound `json:"bounds"`
	// GoodputPerS is the rate of requests that met all their bounds; GoodShare is
	// their part of the requests that arrived in the window. Null if no bound is
	// about single requests.
	GoodputPerS Number `json:"goodput_per_s"`
	GoodShare   Number `json:"good_share"`
}

// Bound is one bound of an SLO and what was measured. Held is judged by
// WithUnfinishedS, or by ValueS if the SLO ignores unfinished requests. A
// bound on something that never happened does not hold if requests arrived.
type Bound struct {
	Tier            string  `json:"tier,omitempty"` // empty for all requests
	Metric          string  `json:"metric"`
	Quantile        float64 `json:"quantile"`
	LimitS          float64 `json:"limit_s"`
	ValueS          Number  `json:"value_s"`
	WithUnfinishedS Number  `json:"with_unfinished_s"`
	Held            bool    `json:"held"`
}

// Load says how full the system was, over the window.
type Load struct {
	SystemMean Number `json:"in_system_mean"` // requests, time average
	SystemPeak int64  `json:"in_system_peak"`
	// LittleMean is the same by Little's law, as the rate of requests times their
	// mean time in the system, unfinished ones included: it is computed
	// from the requests' own time stamps and must equal SystemMean.
	LittleMean  Number `json:"little_mean"`
	RunningMean Number `json:"running_mean"` // requests admitted to a replica
	WaitingMean Number `json:"waiting_mean"` // requests in queues
	WaitingPeak int64  `json:"waiting_peak"` // longest queue of a replica right after a decision
	// WaitingSlopePerS is the growth of the queues over the second half of the time
	// in which requests arrived (least squares), in requests per second; Growing tells
	// whether it is more than chance, so that no steady state exists.
	WaitingSlopePerS Number `json:"waiting_slope_per_s"`
	Growing          bool   `json:"growing"`
	// Filling tells whether the number of running requests was still rising then, so
	// that latencies and memory use would have been worse in a longer run.
	Filling     bool   `json:"filling"`
	KVMeanShare Number `json:"kv_mean_share"` // of all KV blocks
	KVPeakShare Number `json:"kv_peak_share"` // of the replica that came closest to its capacity
	BusyShare   Number `json:"busy_share"`    // mean over all pipeline stages
	BubbleShare Number `json:"bubble_share"`  // likewise: idle although work was in flight
}

// Iterations summarises the iterations in the window.
type Iterations struct {
	Count       int64  `json:"count"`
	TokensMean  Number `json:"tokens_mean"`        // prompt chunks and decodes
	BatchMean   Number `json:"batch_mean"`         // sequences
	DecodesMean Number `json:"decodes_mean"`       // of those, decoding
	LengthMeanS Number `json:"length_mean_s"`      // decision to end
	HostShare   Number `json:"host_share"`         // host time over iteration time, hidden or not
	ExposedHost Number `json:"host_exposed_share"` // host time that no device work hides, over the window; null with pipelines
}

// Replica is the use of one replica over the window.
type Replica struct {
	Stages      []Stage `json:"stages"`
	KVBlocks    int64   `json:"kv_blocks"`
	KVMeanShare Number  `json:"kv_mean_share"`
	KVPeakShare Number  `json:"kv_peak_share"`
	RunningMean Number  `json:"running_mean"`
	Iterations  int64   `json:"iterations"`
	// ProvisionedS is how long it had its devices; the shares and means above are over that
	// time.
	ProvisionedS float64 `json:"provisioned_s"`
}

// Stage is the use of one pipeline stage. Shares are of the window.
type Stage struct {
	BusyShare   Number `json:"busy_share"`
	BubbleShare Number `json:"bubble_share"`
}

// Series has the run over time, in bins of equal width from time zero.
type Series struct {
	BinS             float64   `json:"bin_s"`
	Waiting          []float64 `json:"waiting"` // requests in queues, mean over the bin
	Running          []float64 `json:"running"`
	KVShare          []float64 `json:"kv_share"`
	BusyShare        []float64 `json:"busy_share"`
	OutputTokensPerS []float64 `json:"output_tokens_per_s"`
	ArrivedPerS      []float64 `json:"arrived_per_s"`
	// Provisioned is the number of replicas that have their devices, absent if all have them
	// throughout.
	Provisioned []float64 `json:"provisioned,omitempty"`
}

// Curves are cumulative distributions, at most a few hundred points each.
type Curves struct{ TTFT, TBT, TPOT, E2E, SchedulingDelay []Point }

// Point says that the share P of samples is at most S seconds.
type Point struct{ S, P float64 }

// JSON returns the contents of result.json. Equal results give equal bytes.
func (r *Result) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(r); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return compactArrays(b.Bytes()), nil
}

// compactArrays puts arrays of plain numbers on one line each. Series would
// otherwise fill thousands of lines.
func compactArrays(b []byte) []byte {
	out := make([]byte, 0, len(b))
	quoted := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			out = append(out, c)
			i++ // whatever is escaped
		case c == '"':
			quoted = !quoted
		case !quoted && c == '[':
			end := i + bytes.IndexByte(b[i:], ']')
			if bytes.ContainsAny(b[i+1:end], `"{[`) {
				break
			}
			for ; i < end; i++ {
				if b[i] != '\n' && b[i] != ' ' {
					out = append(out, b[i])
				}
			}
		}
		out = append(out, b[i])
	}
	return out
}
