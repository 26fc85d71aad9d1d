package scenarios

import (
	"time"

	"orrery/hwmodel"
	"orrery/policies/batch"
	"orrery/workloads/diffusion"
	"orrery/workloads/llm"
)

// Scenario is an experiment, read from TOML, checked and with its defaults filled
// in. It does not change after [Load], so many runs may share it.
//
// The fields are what a file may say; their toml tags are the keys. Sections with a
// part that is chosen by name take the part's keys as well.
type Scenario struct {
	Name        string `toml:"name"`        // default: the file's name without its ending
	Description string `toml:"description"` // one sentence
	Seed        uint64 `toml:"seed"`        // of all random draws, default 1

	Model    Model     `toml:"model"`
	Hardware Hardware  `toml:"hardware"`
	Device   Sheet     `toml:"device"`
	Cost     Cost      `toml:"cost"`
	Policy   Policy    `toml:"policy"`
	Traffic  Traffic   `toml:"traffic"`
	SLO      SLO       `toml:"slo"`
	Run      RunLimits `toml:"run"`
	Faults   Faults    `toml:"faults"`
	Network  Network   `toml:"network"`
	Plan     Planning  `toml:"plan"`
	Output   Output    `toml:"output"`
	Compare  Compare   `toml:"compare"`
	Capacity Capacity  `toml:"capacity"`
	Fleet    Fleet     `toml:"fleet"`
	Sweep    Sweep     `toml:"sweep"`
	Groups   []Group   `toml:"group"` // of replicas, where they are not all alike
	Tiers    []Tier    `toml:"tier"`  // service classes of texts
	Classes  []Class   `toml:"class"` // of images and clips
	Pools    []Pool    `toml:"pool"`  // of devices that make them

	doc      *document // what was read, to read it again with other settings
	model    *llm.Model
	profile  *hwmodel.Profile
	engine   *hwmodel.Engine
	blocks   int64    // KV blocks of a replica
	files    []string // that the scenario names, absolute
	notes    []string
	flags    []string
	variants []Variant
	text     bool               // replicas serve text
	jobs     []*diffusion.Job   // by class, of one image; nil where costs are measured
	profiles []*hwmodel.Profile // by pool, nil without a device
}

// Model says which text model is served.
type Model struct {
	// Name is one of llm.Names, or the path of a model file (.toml) or of a
	// Hugging Face config.json.
	Name string `toml:"name"`
	// MaxLen is the longest sequence served, prompt and output together, in tokens;
	// longer requests are rejected. 0 (default): the longest the model was made for.
	MaxLen int `toml:"max_len"`
}

// Hardware says what a replica runs on, and how many replicas there are.
type Hardware struct {
	// Device is one of hwmodel.Names, or the path of a profile (.toml) as calibrate fit
	// writes it; the name of the device of section [device] if there is one.
	Device   string `toml:"device"`
	Engine   string `toml:"engine"`   // one of hwmodel.Engines, default vllm-v1
	Replicas int    `toml:"replicas"` // default 1
	Tensor   int    `toml:"tensor"`   // tensor-parallel degree, default 1
	Pipeline int    `toml:"pipeline"` // pipeline stages, default 1
	// Link joins the devices of a tensor-parallel group: nvswitch, nvlink-pair, pcie
	// or internode; default: the device's own. StageLink joins pipeline stages;
	// default, empty: what the device's nodes give, internode for a replica that is
	// larger than a node.
	Link      string `toml:"link"`
	StageLink string `toml:"stage_link"`
	// MemoryFraction is the share of device memory that the engine may use; default:
	// the engine's own.
	MemoryFraction float64 `toml:"memory_fraction"`
	BlockTokens    int     `toml:"block_tokens"` // tokens of one KV block, default 16
	// KVBlocks is the number of KV blocks of a replica. 0 (default): what the
	// memory of the device leaves beside weights and activations.
	KVBlocks int64 `toml:"kv_blocks"`
	// SwapGiB is the host memory of a replica for swapped-out KV blocks, GiB, default
	// 0; it has use with a policy that swaps.
	SwapGiB float64 `toml:"swap_gib"`
	// OffloadGiB is the host memory of a replica, beside SwapGiB, for what is evicted from
	// the prefix cache, GiB, default 0. From there it comes back in the time of the copy.
	OffloadGiB float64 `toml:"offload_gib"`
	// PricePerHour is what one device costs, in any currency; 0 (default): not known.
	PricePerHour float64 `toml:"price_per_hour"`
}

// Cost says how long iterations take. The part is one of analytic (default),
// affine, tables and measured; see cost.go.
type Cost struct {
	Kind string `toml:"kind"`

	part costPart
}

// Policy says how requests are routed and batched. The keys of the batch policy
// and of the router stand in the same section.
type Policy struct {
	Batch       string `toml:"batch"`        // one of Policies, default vllm-v1
	Route       string `toml:"route"`        // one of Routers, default least-outstanding
	Admit       string `toml:"admit"`        // one of Admissions, default all
	Order       string `toml:"order"`        // of queues, one of Orders, default fifo
	PrefixCache bool   `toml:"prefix_cache"` // reuse the KV blocks of shared prefixes, default false
	// ViewDelay is how much later the router hears of what happens on the replicas, default
	// 0. What it has sent it knows at once.
	ViewDelay Duration `toml:"view_delay"`
	// Speculative is speculative decoding, default none.
	Speculative Speculation `toml:"speculative"`
	LoRA        LoRA        `toml:"lora"` // adapters served, default none

	batch batch.Policy
	route router
	admit admission
	order order
}

// Traffic says what is asked and when. The part is one of synthetic (default),
// replay, sessions and closed-loop; see traffic.go.
type Traffic struct {
	Source string `toml:"source"`
	// Adapters is the number of LoRA adapters that texts want, default 0: none. The k-th is
	// chosen in proportion to k^-adapter_zipf.
	Adapters    int     `toml:"adapters"`
	AdapterZipf float64 `toml:"adapter_zipf"`

	part trafficPart
}

// SLO is the service-level objective; bounds that are 0 are not stated.
type SLO struct {
	TTFT          Duration `toml:"ttft"`
	TBT           Duration `toml:"tbt"`
	TPOT          Duration `toml:"tpot"`
	E2E           Duration `toml:"e2e"`
	Quantile      float64  `toml:"quantile"`        // share of samples within the bounds, default 0.99
	SchedDelayP50 Duration `toml:"sched_delay_p50"` // bound of the median scheduling delay
	// IgnoreUnfinished judges by finished requests only, as the artefact of
	// Sarathi-Serve does. By default requests cut off by the end of the run count
	// with the delay they had by then.
	IgnoreUnfinished bool `toml:"ignore_unfinished"`
}

// RunLimits says when a run ends and what of it is measured.
type RunLimits struct {
	Until  Duration `toml:"until"`   // cut the run at this simulated time; 0 (default): when all requests have ended
	WarmUp Duration `toml:"warm_up"` // requests that arrive before are served but not measured, default 0
	// FirstToken says which iteration emits a request's first token: prefill
	// (default), as engines do, or decode, as the artefact of Sarathi-Serve does.
	FirstToken string `toml:"first_token"`
}

// Output says what a run writes besides result.json.
type Output struct {
	Plots bool `toml:"plots"` // default true
	// Rows are the formats in which each request is written: csv, parquet.
	Rows     []string `toml:"rows"`
	Timeline bool     `toml:"timeline"` // a timeline that opens in Perfetto, default false
}

// Compare says what the command compare runs: the same traffic under several
// settings. The first variant is what the others are compared with.
type Compare struct {
	Seeds    int       `toml:"seeds"` // runs of each variant, default 5
	Variants []Setting `toml:"variant"`
}

// Setting is a labelled set of overrides: a tree of keys like the scenario's own.
type Setting struct {
	Label string         `toml:"label"`
	Set   map[string]any `toml:"set"`
}

// Capacity says how the command capacity searches for the highest rate that meets
// the SLO.
type Capacity struct {
	Low       float64 `toml:"low"`       // a rate known to meet the SLO, requests per second; 0 (default): unknown
	High      float64 `toml:"high"`      // a rate known to miss it; 0 (default): unknown
	Start     float64 `toml:"start"`     // first rate tried; 0 (default): the rate of the traffic
	Seeds     int     `toml:"seeds"`     // independent searches, default 5
	Tolerance float64 `toml:"tolerance"` // relative width at which a search stops, default 0.025
}

// Sweep says what the command sweep varies, in the words of its flags.
type Sweep struct {
	Vary   []string `toml:"vary"`   // keys with their values or ranges, such as "traffic.rate=1..8:5log"
	Sample int      `toml:"sample"` // points drawn from ranges without a count, default 0
	Method string   `toml:"method"` // how they are drawn: latin (default) or random
	Seeds  int      `toml:"seeds"`  // runs of each setting, default 3
}

// Variant is a scenario of its own, made by the overrides of a [Setting].
type Variant struct {
	Label    string
	Scenario *Scenario
}

// Duration is a length of time, in TOML a string such as "200ms" or "1m30s".
type Duration time.Duration

// String returns the duration as it stands in TOML.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
