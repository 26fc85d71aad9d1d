package scenarios

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"orrery/cluster"
	"orrery/hwmodel"
	"orrery/workloads/diffusion"
)

// priced keeps what was followed and priced of a scenario's classes, for all its
// variants and overrides: rates and counts change none of it. It is safe for concurrent use.
type priced struct {
	mu   sync.Mutex
	done map[pricedKey]pricedProgram
}

// pricedKey is all that a program depends on.
type pricedKey struct {
	job, device, framework string
	memory                 int64
	most                   int
}

type pricedProgram struct {
	program *diffusion.Program
	err     error
}

// get returns the program of a job on a device with memory bytes for it.
func (p *priced) get(key pricedKey, j *diffusion.Job, profile *hwmodel.Profile) (*diffusion.Program, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if got, ok := p.done[key]; ok {
		return got.program, got.err
	}
	got := pricedProgram{}
	got.program, got.err = priceProgram(key, j, profile)
	p.done[key] = got
	return got.program, got.err
}

func priceProgram(key pricedKey, j *diffusion.Job, profile *hwmodel.Profile) (*diffusion.Program, error) {
	f, err := hwmodel.LoadFramework(key.framework)
	if err != nil {
		return nil, err
	}
	q, err := diffusion.NewPricer(profile, f)
	if err != nil {
		return nil, err
	}
	return diffusion.NewProgram(j, q, key.memory, key.most)
}

// poolProgram is a program among those of a pool: models that are loaded already weigh nothing.
type poolProgram struct {
	*diffusion.Program
	loaded int64 // bytes of its weights that another one counts
	group  int
}

func (p *poolProgram) Group() int { return p.group }

func (p *poolProgram) Memory(n int) int64 { return p.Program.Memory(n) - p.loaded }

// classProblem says that a class cannot be run on a pool.
type classProblem struct {
	class int
	err   error
}

func (e *classProblem) Error() string { return e.err.Error() }
func (e *classProblem) Unwrap() error { return e.err }

// remarks are what results say of a pool: how its classes run, and what makes their times
// doubtful.
type remarks struct{ notes, doubts []string }

// programs returns what pool i runs, by class and alternative, what its devices have for it
// in bytes, and what is to be said of it.
func (s *Scenario) programs(i int) (by [][]cluster.Program, memory int64, said remarks, err error) {
	p := &s.Pools[i]
	most := p.policy.policy(nil).MaxBatch()
	memory = int64(math.MaxInt64 / 2)
	if s.profiles[i] != nil {
		memory = s.profiles[i].Device.Memory - diffusion.Outside
	}
	loaded, weights, err := s.loaded(i)
	if err != nil {
		return nil, 0, said, err
	}
	counted := map[string]bool{} // by what is loaded
	var groups, derived []string
	by = make([][]cluster.Program, len(s.Classes))
	for _, name := range p.Classes {
		rungs := s.rungsOf(name)
		class := rungs[0]
		for _, k := range rungs {
			c := &s.Classes[k]
			group := s.groupOf(k)
			if !slices.Contains(groups, group) {
				groups = append(groups, group)
			}
			at := slices.Index(groups, group)
			if s.jobs[k] == nil {
				by[class] = append(by[class], &measuredProgram{ClassCost: c.Cost, steps: c.Steps, group: at})
				continue
			}
			// What other models take is not there for this one.
			room := s.profiles[i].Device.Memory - (weights - loaded[c.models()])
			program, err := s.doc.priced.get(pricedKey{s.jobText(k), p.Device, p.Framework, room, most}, s.jobs[k], s.profiles[i])
			if err != nil {
				return nil, 0, said, &classProblem{k, s.unfit(i, k, room, err)}
			}
			made := &poolProgram{Program: program, group: at}
			if counted[c.models()] {
				made.loaded = program.Weight
			}
			counted[c.models()] = true
			by[class] = append(by[class], made)
			said.notes = append(said.notes, s.fitNotes(p, c, program, most)...)
			if program.Costs[0].Derived && !slices.Contains(derived, c.Name) {
				derived = append(derived, c.Name)
			}
		}
	}
	if len(derived) > 0 {
		said.doubts = append(said.doubts, fmt.Sprintf("pool %s: times of %s on %s under %s are derived from other boards", p.Name, strings.Join(derived, ", "), p.Device, p.Framework))
	}
	return by, memory, said, nil
}

// loaded returns the bytes of the models that pool i loads, by what they are, and in all.
func (s *Scenario) loaded(i int) (by map[string]int64, sum int64, err error) {
	by = map[string]int64{}
	for _, name := range s.Pools[i].Classes {
		for _, k := range s.rungsOf(name) {
			c := &s.Classes[k]
			if s.jobs[k] == nil || by[c.models()] > 0 {
				continue
			}
			f, err := s.jobs[k].Footprint()
			if err != nil {
				return nil, 0, &classProblem{k, err}
			}
			by[c.models()] = f.Weights()
			sum += by[c.models()]
		}
	}
	return by, sum, nil
}

// models names what a class loads: classes that name the same share it.
func (k *Class) models() string { return k.Pipeline + " " + k.DType }

// groupOf names all that images must have in common to share a step.
func (s *Scenario) groupOf(class int) string {
	k := &s.Classes[class]
	if s.jobs[class] == nil {
		return k.Name
	}
	return fmt.Sprint(k.models(), k.Size, k.Frames, k.Passes, k.Methods)
}

// jobText is all that a class's program depends on.
func (s *Scenario) jobText(class int) string {
	k := s.Classes[class]
	k.Name, k.Share, k.Deadline, k.Alternatives = "", 0, 0, nil
	return fmt.Sprint(k)
}

// unfit says why a class does not run on a pool's devices and, where it is memory, what
// would.
func (s *Scenario) unfit(i, class int, room int64, err error) error {
	p, k := &s.Pools[i], &s.Classes[class]
	var full *hwmodel.OutOfMemory
	if !errors.As(err, &full) {
		return err
	}
	j := s.jobs[class]
	want := j.Ladder().Nearest(room, diffusion.Outside)
	if want == "" {
		want = "a larger device, or fewer models in the pool"
	}
	beside := ""
	if left := s.profiles[i].Device.Memory - room; left > 0 {
		beside = fmt.Sprintf(" beside %.1f GiB of other models", float64(left)/(1<<30))
	}
	return fmt.Errorf("class %s does not run on %s%s: %w; want %s", k.Name, p.Device, beside, err, want)
}

// fitNotes says where memory decides how a class runs.
func (s *Scenario) fitNotes(p *Pool, k *Class, program *diffusion.Program, most int) []string {
	var notes []string
	if n := program.Most(); n < most {
		notes = append(notes, fmt.Sprintf("pool %s: %s of %s fit on %s, not %d", p.Name, plural(n, "image"), k.Name, p.Device, most))
	}
	var freeing []string
	for n, fit := range program.Fits {
		if fit == diffusion.RunsAfterFreeing {
			freeing = append(freeing, fmt.Sprint(n+1))
		}
	}
	if len(freeing) > 0 {
		notes = append(notes, fmt.Sprintf("pool %s: %s in batches of %s fits on %s only after freeing cached blocks", p.Name, k.Name, strings.Join(freeing, ", "), p.Device))
	}
	return notes
}

// fit refuses classes that a pool's devices do not run, and notes what memory decides.
func (c *checker) fit(s *Scenario) {
	for i := range s.Pools {
		if s.Pools[i].Count == 0 {
			continue
		}
		_, _, said, err := s.programs(i)
		var of *classProblem
		switch {
		case errors.As(err, &of):
			c.d.errorf(fmt.Sprintf("class[%d]", of.class), "pool %s: %w", s.Pools[i].Name, err)
		case err != nil:
			c.in(fmt.Sprintf("pool[%d]", i)).wrap("device", err)
		}
		c.s.notes = append(c.s.notes, said.notes...)
		c.s.flags = append(c.s.flags, said.doubts...)
	}
}

// slower is a program all of whose times are multiplied.
type slower struct {
	cluster.Program
	factor float64
}

func (p *slower) times(d time.Duration) time.Duration {
	return time.Duration(math.Round(float64(d) * p.factor))
}

func (p *slower) Encode(n int) time.Duration  { return p.times(p.Program.Encode(n)) }
func (p *slower) Step(k, n int) time.Duration { return p.times(p.Program.Step(k, n)) }
func (p *slower) Decode(n int) time.Duration  { return p.times(p.Program.Decode(n)) }

// slow multiplies the times of all programs.
func slow(pools []cluster.PoolConfig, factor float64) {
	for i := range pools {
		for _, rungs := range pools[i].Programs {
			for k := range rungs {
				rungs[k] = &slower{rungs[k], factor}
			}
		}
	}
}
