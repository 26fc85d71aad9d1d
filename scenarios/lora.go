package scenarios

import (
	"math"
	"math/bits"
	"strings"
	"time"

	"orrery/cluster"
	"orrery/sim"
	"orrery/workloads"
	"orrery/workloads/llm"
)

// LoRA says how replicas serve adapters: policy.lora. Their memory is set aside from the KV
// cache where hardware.kv_blocks does not say how large that is. What they compute
// is not priced.
type LoRA struct {
	MaxAdapters int `toml:"max_adapters"` // that a replica's memory holds, 0 (default) for none
	MaxLoRAs    int `toml:"max_loras"`    // different ones in a batch, default max_adapters
	Rank        int `toml:"rank"`         // of adapters of all projections, default 16
	// Load is the time to bring one from host memory; default, 0: that of its bytes on the
	// device's host link.
	Load Duration `toml:"load"`
}

// maxLoad bounds the time to load an adapter.
const maxLoad = Duration(time.Hour)

// defaultRank is that of vLLM (max_lora_rank).
const defaultRank = 16

// lora checks policy.lora, and the traffic that wants it.
func (c *checker) lora(s *Scenario) {
	p := &s.Policy.LoRA
	at := c.in("policy.lora")
	if p.MaxAdapters == 0 {
		if *p != (LoRA{}) {
			at.fail("max_adapters", "is 0, so that none is served; want the number that a replica's memory holds, such as 8")
		}
		return
	}
	if p.Rank == 0 {
		p.Rank = defaultRank
	}
	at.between("max_adapters", p.MaxAdapters, 1, 1<<20)
	at.between("max_loras", p.MaxLoRAs, 0, p.MaxAdapters)
	at.between("rank", p.Rank, 1, 1<<12)
	if p.Load > maxLoad {
		at.fail("load", "is %q; want at most %q", p.Load, maxLoad)
	}
	if p.Load == 0 && (s.model == nil || s.profile == nil) {
		at.fail("load", "is missing; want the time to load an adapter, or [model] and hardware.device to tell it by")
	}
	if len(c.d.errs) == 0 {
		c.flag("what LoRA adapters compute is not priced, only the time to load them, %s each", s.loadTime().Round(time.Microsecond))
	}
}

// adapterTraffic checks the keys of [traffic] about adapters.
func (c *checker) adapterTraffic(s *Scenario) {
	t := &s.Traffic
	c.between("adapters", t.Adapters, 0, 10_000)
	c.number("adapter_zipf", t.AdapterZipf, "exponent of the popularity")
	if t.Adapters > 0 && s.Policy.LoRA.MaxAdapters == 0 {
		c.fail("adapters", "is %d, but policy.lora.max_adapters is 0; want the number that a replica's memory holds there", t.Adapters)
	}
}

// adapterBytes returns the bytes of one adapter over all devices of a replica: two
// matrices of 16-bit weights for each projection of attention and MLP (Hu et al., LoRA, ICLR
// 2022), of attention alone in mixtures of experts. 0 without a model.
func (s *Scenario) adapterBytes() int64 {
	m := s.model
	if m == nil {
		return 0
	}
	return int64(m.Layers) * loraWidths(m) * int64(s.Policy.LoRA.Rank) * 2
}

// loraWidths returns the inputs and outputs of a layer's projections, summed.
func loraWidths(m *llm.Model) int64 {
	attention := 2*(m.Hidden+m.QueryWidth()) + 2*(m.Hidden+m.KVWidth())
	if m.Experts > 0 {
		return int64(attention)
	}
	mlp := 2
	if m.Gated {
		mlp = 3
	}
	return int64(attention + mlp*(m.Hidden+m.Intermediate))
}

// loadTime returns how long it takes to load an adapter, to all devices side by side.
func (s *Scenario) loadTime() time.Duration {
	p := &s.Policy.LoRA
	if p.Load > 0 || p.MaxAdapters == 0 || s.profile == nil {
		return time.Duration(p.Load)
	}
	bytes := float64(s.adapterBytes()) / float64(s.parallel().Devices())
	return time.Duration(math.Round(1e9 * (s.profile.Copy.Latency + bytes/s.profile.Copy.Rate)))
}

// adapters returns the settings as package cluster takes them.
func (s *Scenario) adapters() cluster.Adapters {
	p := &s.Policy.LoRA
	return cluster.Adapters{Max: p.MaxAdapters, Batch: p.MaxLoRAs, Load: s.loadTime()}
}

// adapterSalt keeps the adapters of conversations apart from their tiers.
const adapterSalt = 0x6c6f7261 // "lora"

// adapt returns the source with the adapters of the traffic, or as it is if it has none.
// What prompts of one adapter share, others do not: their KV caches differ.
func (s *Scenario) adapt(src workloads.Source, seed uint64) workloads.Source {
	n := s.Traffic.Adapters
	if n == 0 {
		return src
	}
	shares, sum := make([]float64, n), 0.0
	for k := range shares {
		shares[k] = math.Pow(float64(k+1), -s.Traffic.AdapterZipf)
		sum += shares[k]
	}
	for k := range shares {
		shares[k] /= sum
	}
	return tagged(src, sim.Stream(seed, "adapter"), seed^adapterSalt, shares, func(r *workloads.Request, i int32) {
		if r.Class > 0 {
			return
		}
		r.Adapter = i + 1
		names := make([]uint64, len(r.Prefix))
		for k, name := range r.Prefix {
			hi, lo := bits.Mul64(name^uint64(r.Adapter)*0x9e3779b97f4a7c15, 0xe7037ed1a0b428db)
			names[k] = hi ^ lo
		}
		if len(names) > 0 {
			r.Prefix = names
		}
	})
}

// loraText says how adapters are served, for people; empty if none are.
func (s *Scenario) loraText() string {
	p := &s.Policy.LoRA
	if p.MaxAdapters == 0 {
		return ""
	}
	parts := []string{plural(p.MaxAdapters, "LoRA adapter") + " in memory"}
	if p.MaxLoRAs > 0 {
		parts = append(parts, plural(p.MaxLoRAs, "adapter")+" in a batch")
	}
	return ", " + strings.Join(parts, ", ")
}
