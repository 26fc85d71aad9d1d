package scenarios

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"orrery/cluster"
	"orrery/hwmodel"
	"orrery/internal/names"
	"orrery/policies/denoise"
	"orrery/sim"
)

// Pool is a set of like devices that make images and clips: one [[pool]] of a scenario.
// The keys of its policy stand beside its own.
type Pool struct {
	Name string `toml:"name"`
	// Device is one of hwmodel.Names; empty where all classes have measured costs.
	Device       string   `toml:"device"`
	Count        int      `toml:"count"`          // devices, default 1
	Framework    string   `toml:"framework"`      // one of hwmodel.Frameworks, default diffusers
	Classes      []string `toml:"classes"`        // that it serves, with all their alternatives
	PricePerHour float64  `toml:"price_per_hour"` // of one device, in any currency; default 0
	Least        int      `toml:"least"`          // fewest devices that orrery fleet tries, default 0
	Most         int      `toml:"most"`           // most devices that orrery fleet tries; 0 (default): count
	Policy       string   `toml:"policy"`         // one of DenoisePolicies, default step-level
	// Swap is how long a device takes to go from one adapter of classes to another, default 0s:
	// adapters share batches and cost nothing.
	Swap Duration `toml:"swap"`

	policy poolPolicy
}

// Fleet says how pools work together.
type Fleet struct {
	Spread string `toml:"spread"` // of requests over pools that serve them, one of Spreads, default least-loaded
	Seeds  int    `toml:"seeds"`  // runs of each fleet that orrery fleet tries, default 3
}

// poolPolicy is the policy of a pool before its random numbers are known.
type poolPolicy interface {
	check(c *checker)
	// policy returns a fresh one for a run.
	policy(rng *rand.Rand) denoise.Policy
}

// denoisePolicies is the table of policies of pools. Settings are toml tags, as for
// batch policies.
var denoisePolicies = []struct {
	Name
	make func() poolPolicy
}{
	{Name{"step-level", "continuous batching: images join and leave between denoising steps"},
		func() poolPolicy { return &stepLevel{denoise.Continuous{Batch: 8}} }},
	{Name{"fifo", "a free device runs the oldest image, and others of its class, to the end"},
		func() poolPolicy { return &fifo{denoise.FIFO{Batch: 8}} }},
	{Name{"batch-timeout", "batches are filled up to max_batch or timeout, then run to the end (MLPerf)"},
		func() poolPolicy { return &batchTimeout{MaxBatch: 8, Timeout: Duration(2 * time.Second)} }},
	{Name{"shortest-job-first", "step-level, the least work first; aging seconds off for every second of waiting"},
		func() poolPolicy { return &shortestFirst{denoise.Shortest{Batch: 8}} }},
	{Name{"ladder", "the best alternative of a class that still meets its deadline"},
		func() poolPolicy { return &ladder{denoise.Ladder{Batch: 8}} }},
	{Name{"cascade", "the first of two alternatives for all, the second as well for a share"},
		func() poolPolicy { return &cascade{MaxBatch: 8, Share: 0.3} }},
}

// DenoisePolicies returns the policies of pools by name.
func DenoisePolicies() []Name {
	out := make([]Name, len(denoisePolicies))
	for i := range denoisePolicies {
		out[i] = denoisePolicies[i].Name
	}
	return out
}

// spreads is the table of rules by which requests go to pools.
var spreads = []struct {
	Name
	spread cluster.Spread
}{
	{Name{"least-loaded", "the pool with the fewest requests for each of its devices"}, cluster.LeastLoaded},
	{Name{"cheapest", "the pool where it costs least, as long as that keeps up"}, cluster.Cheapest},
}

// Spreads returns the rules by which requests go to pools, by name.
func Spreads() []Name {
	out := make([]Name, len(spreads))
	for i := range spreads {
		out[i] = spreads[i].Name
	}
	return out
}

type stepLevel struct{ denoise.Continuous }

func (p *stepLevel) check(c *checker)                 { c.batch(p.Batch) }
func (p *stepLevel) policy(*rand.Rand) denoise.Policy { q := p.Continuous; return &q }

type fifo struct{ denoise.FIFO }

func (p *fifo) check(c *checker)                 { c.batch(p.Batch) }
func (p *fifo) policy(*rand.Rand) denoise.Policy { q := p.FIFO; return &q }

type shortestFirst struct{ denoise.Shortest }

func (p *shortestFirst) policy(*rand.Rand) denoise.Policy { q := p.Shortest; return &q }

func (p *shortestFirst) check(c *checker) {
	c.batch(p.Batch)
	c.number("aging", p.Aging, "seconds of work for a second of waiting")
}

type ladder struct{ denoise.Ladder }

func (p *ladder) check(c *checker)                 { c.batch(p.Batch) }
func (p *ladder) policy(*rand.Rand) denoise.Policy { q := p.Ladder; return &q }

// batchTimeout is [denoise.BatchTimeout] in a scenario.
type batchTimeout struct {
	MaxBatch int      `toml:"max_batch"`
	Timeout  Duration `toml:"timeout"`
}

func (p *batchTimeout) check(c *checker) { c.batch(p.MaxBatch) }

func (p *batchTimeout) policy(*rand.Rand) denoise.Policy {
	return &denoise.BatchTimeout{Batch: p.MaxBatch, Timeout: time.Duration(p.Timeout)}
}

// cascade is [denoise.Cascade] in a scenario.
type cascade struct {
	MaxBatch int     `toml:"max_batch"`
	Share    float64 `toml:"share"`
}

func (p *cascade) check(c *checker) {
	c.batch(p.MaxBatch)
	if !(p.Share >= 0 && p.Share <= 1) {
		c.fail("share", "is %s; want the share of images that the second alternative makes again, 0 to 1", floatText(p.Share))
	}
}

func (p *cascade) policy(rng *rand.Rand) denoise.Policy {
	return &denoise.Cascade{FIFO: denoise.FIFO{Batch: p.MaxBatch}, Share: p.Share, Rand: rng}
}

// maxPoolBatch bounds what is priced beforehand.
const maxPoolBatch = 1024

func (c *checker) batch(n int) { c.between("max_batch", n, 1, maxPoolBatch) }

// pools decodes [[pool]], each with the keys of its policy.
func (d *decoder) pools(s *Scenario) {
	value, ok := d.doc.tree["pool"]
	if !ok {
		return
	}
	list, ok := elements(value)
	if !ok {
		d.errorf("pool", "pool is %s; want [[pool]], a section for each pool", describe(value))
		return
	}
	s.Pools = make([]Pool, len(list))
	for i, v := range list {
		path := fmt.Sprintf("pool[%d]", i)
		tree, ok := v.(map[string]any)
		if !ok {
			d.errorf(path, "%s is %s; want a table", path, describe(v))
			continue
		}
		s.Pools[i] = Pool{Count: 1, Framework: "diffusers", Policy: denoisePolicies[0].Name.Name}
		d.pool(path, tree, &s.Pools[i])
	}
}

func (d *decoder) pool(path string, tree map[string]any, p *Pool) {
	if name, ok := tree["policy"].(string); ok {
		p.Policy = name
	}
	var others []alternative
	for _, k := range denoisePolicies {
		if made := k.make(); k.Name.Name == p.Policy {
			p.policy = made
		} else {
			others = append(others, alternative{"policy", k.Name.Name, made})
		}
	}
	if p.policy == nil {
		d.unknown(path+".policy", "policy of a pool", p.Policy, namesOf(DenoisePolicies()))
		return
	}
	d.fill(path, tree, []any{p, p.policy}, others)
}

// pools checks the pools against the classes.
func (c *checker) pools(s *Scenario) {
	served := make([]bool, len(s.Classes))
	s.profiles = make([]*hwmodel.Profile, len(s.Pools))
	for i := range s.Pools {
		p := &s.Pools[i]
		at := c.in(fmt.Sprintf("pool[%d]", i))
		at.named(p.Name, i, func(j int) string { return s.Pools[j].Name })
		at.between("count", p.Count, 0, maxReplicas)
		at.between("least", p.Least, 0, maxReplicas)
		at.between("most", p.Most, 0, maxReplicas)
		at.number("price_per_hour", p.PricePerHour, "of one device")
		if p.Swap < 0 {
			at.fail("swap", "is %v; want a time, 0s for none", p.Swap)
		}
		if p.Most > 0 && p.Most < p.Least {
			at.fail("most", "is %d, below least, %d; want at least as many", p.Most, p.Least)
		}
		p.policy.check(at)
		at.poolDevice(s, i)
		if len(p.Classes) == 0 {
			at.fail("classes", "is missing; want the classes that it serves, of %s", strings.Join(s.classNames(), ", "))
		}
		for k, name := range p.Classes {
			key := fmt.Sprintf("classes[%d]", k)
			switch class := s.classIndex(name); {
			case class < 0:
				at.wrap(key, names.Unknown("class", name, s.classNames()))
			case slices.Index(p.Classes, name) < k:
				at.fail(key, "is %q, as another one; want each class once", name)
			default:
				served[class] = served[class] || p.Count > 0
				at.rungs(s, p, class)
			}
		}
	}
	for i := range s.Classes {
		if k := &s.Classes[i]; k.Share > 0 && !served[i] && len(c.d.errs) == 0 {
			c.d.errorf(fmt.Sprintf("class[%d]", i), "class %s is asked for, but no pool with a device serves it; want it among the classes of a [[pool]], or share = 0.0", k.Name)
		}
	}
	fleet := c.in("fleet")
	fleet.between("seeds", s.Fleet.Seeds, 1, 1000)
	if !slices.ContainsFunc(Spreads(), func(n Name) bool { return n.Name == s.Fleet.Spread }) {
		fleet.wrap("spread", names.Unknown("spread", s.Fleet.Spread, namesOf(Spreads())))
	}
}

// rungs checks that the policy of a pool has what it chooses from.
func (c *checker) rungs(s *Scenario, p *Pool, class int) {
	k := &s.Classes[class]
	switch n := len(k.Alternatives); {
	case p.Policy == "cascade" && n != 1:
		c.fail("policy", "is %q, but class %s has %s; want one, which makes again what the first has not made well", p.Policy, k.Name, plural(n, "alternative"))
	case p.Policy == "ladder" && n == 0:
		c.fail("policy", "is %q, but class %s has no alternatives; want some, by falling quality", p.Policy, k.Name)
	case p.Policy == "ladder" && k.Deadline == 0:
		c.fail("policy", "is %q, but class %s has no deadline; want one", p.Policy, k.Name)
	}
}

// poolDevice looks up what a pool's devices are.
func (c *checker) poolDevice(s *Scenario, i int) {
	p := &s.Pools[i]
	if p.Device == "" {
		for _, name := range p.Classes {
			for _, class := range s.rungsOf(name) {
				if s.Classes[class].Pipeline != "" {
					c.fail("device", "is missing; want one of %s", strings.Join(hwmodel.Names(), ", "))
					return
				}
			}
		}
		return
	}
	profile, err := loadProfile(p.Device)
	if err != nil {
		c.wrapName("device", "device", p.Device, hwmodel.Names(), err)
		return
	}
	s.profiles[i] = profile
	if _, err := hwmodel.LoadFramework(p.Framework); err != nil {
		c.wrapName("framework", "framework", p.Framework, hwmodel.Frameworks(), err)
	}
}

// rungsOf returns a class and its alternatives, by index; none if there is no such class.
func (s *Scenario) rungsOf(class string) []int {
	i := s.classIndex(class)
	if i < 0 {
		return nil
	}
	out := []int{i}
	for _, name := range s.Classes[i].Alternatives {
		if a := s.classIndex(name); a >= 0 {
			out = append(out, a)
		}
	}
	return out
}

// buildPools adds the pools to the experiment of one run. Pools without devices are left out.
func (s *Scenario) buildPools(e *Experiment, seed uint64) error {
	for i := range s.Classes {
		e.Config.Classes = append(e.Config.Classes, cluster.Class{Name: s.Classes[i].Name, Deadline: time.Duration(s.Classes[i].Deadline)})
	}
	for _, sp := range spreads {
		if sp.Name.Name == s.Fleet.Spread {
			e.Config.Spread = sp.spread
		}
	}
	for i := range s.Pools {
		p := &s.Pools[i]
		if p.Count == 0 {
			continue
		}
		programs, memory, _, err := s.programs(i)
		if err != nil {
			return fmt.Errorf("%s: pool %s: %w", s.Name, p.Name, err)
		}
		e.Config.Pools = append(e.Config.Pools, cluster.PoolConfig{
			Name: p.Name, Devices: p.Count, Policy: p.policy.policy(sim.Stream(seed, "pool "+p.Name)),
			Memory: memory, Programs: programs, Price: p.PricePerHour, Adapters: s.poolAdapters(p, programs), Swap: time.Duration(p.Swap),
		})
	}
	return nil
}

// poolAdapters returns the adapters of a pool's programs by number, nil where none are swapped.
func (s *Scenario) poolAdapters(p *Pool, programs [][]cluster.Program) [][]int32 {
	if p.Swap == 0 {
		return nil
	}
	numbers := map[string]int32{"": 0}
	of := func(k *Class) int32 {
		if _, ok := numbers[k.Adapter]; !ok {
			numbers[k.Adapter] = int32(len(numbers))
		}
		return numbers[k.Adapter]
	}
	out := make([][]int32, len(programs))
	for class := range programs {
		for rung := range programs[class] {
			k := &s.Classes[class]
			if rung > 0 {
				k = &s.Classes[s.classIndex(k.Alternatives[rung-1])]
			}
			out[class] = append(out[class], of(k))
		}
	}
	return out
}
