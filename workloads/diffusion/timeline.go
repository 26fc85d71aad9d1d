package diffusion

import (
	"cmp"
	"fmt"
	"slices"

	"orrery/hwmodel"
)

// MemoryOptions says on what a run's memory is followed.
type MemoryOptions struct {
	Capacity int64 // bytes that the allocator may reserve; 0: no limit
	Outside  int64 // bytes that the process holds beside its allocator: context, libraries
	Points   int   // the most points of the series; 0: 2000
}

// MemoryRun is the memory of a pipeline's run, or of one graph's, operator by operator.
// Four figures are all called memory, each for good reason:
//
//	live       what tensors and workspaces need, as a sum of their sizes
//	allocated  the blocks that hold them, rounded up
//	reserved   the segments that the caching allocator holds, most of them for later
//	device     reserved and what lies outside the allocator: what the driver reports
type MemoryRun struct {
	Stages  []StageMemory
	Weights int64 // bytes of all registered modules
	Peak    MemoryPeaks
	End     hwmodel.Usage // what is held when all is done
	Outside int64
	Points  []MemoryPoint // at most MemoryOptions.Points of them, each the peak of its operators
	Ops     int           // operators that were followed
	Limit   int64         // bytes to which the allocator had to be limited on its card; 0: not at all
	Retries int           // times at which the allocator gave its cache back for an allocation
	Smaller int           // convolutions that ran without workspace, since there was no room
}

// Device returns the peak that the driver reports.
func (m *MemoryRun) Device() int64 { return m.Peak.Reserved.Bytes + m.Outside }

// MemoryPeaks are the peaks of a run or a stage, each with the operator that holds it.
type MemoryPeaks struct{ Live, Allocated, Reserved MemoryPeak }

// MemoryPeak is a peak and the first operator at which it stands.
type MemoryPeak struct {
	Bytes           int64
	Stage, Operator string
}

// StageMemory is the part of a run that one stage of a pipeline takes, or several of one
// name in a row.
type StageMemory struct {
	Name   string
	Times  int // calls in a row
	Traced int // of them followed; the others do again what was done before them
	First  int // its first operator, counted over the whole run
	Peak   MemoryPeaks
}

// MemoryPoint is the most that was held during operator Op of a run, or during the
// operators from it to the next point's.
type MemoryPoint struct {
	Op int
	hwmodel.Usage
}

// Footprint is what a run puts into memory: weights that stay, and calls in a row.
type Footprint struct {
	Modules []Module
	Calls   []Calls
}

// Module is a part of a pipeline that is loaded, whether it is run or not.
type Module struct {
	Name   string
	Params []int64 // parameters, operator by operator, each allocated in one piece
	Width  int     // bytes of one
}

// Module returns the module whose parameters a graph's operators hold, with elements of
// width bytes.
func (g *Graph) Module(name string, width int) Module {
	m := Module{Name: name, Width: width}
	for i := range g.Ops {
		if n := g.Ops[i].Params; n > 0 {
			m.Params = append(m.Params, n)
		}
	}
	return m
}

// Calls is one stage of a run.
type Calls struct {
	Name  string
	Graph *Graph
	Times int
	// Keep says that results outlive the stage, as a decoder's images do: those of several calls,
	// also of stages of one name in a row, are joined when all have ended. Otherwise they die with the
	// call, as a step's prediction does.
	Keep bool
}

// Follow runs f from beginning to end. The error wraps [hwmodel.OutOfMemory], and names
// the stage and the operator, when the capacity does not suffice.
func (f *Footprint) Follow(o MemoryOptions) (*MemoryRun, error) {
	r := &follower{run: MemoryRun{Outside: o.Outside}, alloc: hwmodel.NewCachingAllocator(o.Capacity)}
	for i := range f.Modules {
		if err := r.load(&f.Modules[i]); err != nil {
			return nil, err
		}
	}
	for i := range f.Calls {
		if err := r.repeat(&f.Calls[i]); err != nil {
			return nil, err
		}
		if i == len(f.Calls)-1 || f.Calls[i].Name != f.Calls[i+1].Name {
			if err := r.join(); err != nil {
				return nil, err
			}
		}
	}
	r.run.Ops = len(r.all)
	r.run.Points = thin(r.all, cmp.Or(o.Points, 2000))
	r.run.Retries = r.alloc.Retries()
	r.run.End = r.alloc.Usage()
	return &r.run, nil
}

// follower is one run of a [Footprint].
type follower struct {
	run   MemoryRun
	alloc *hwmodel.CachingAllocator
	all   []MemoryPoint
	stage *StageMemory
	kept  [][]piece // what calls returned, each its outputs, until they are joined
}

// piece is a tensor that outlives its call.
type piece struct {
	block hwmodel.BlockID
	bytes int64
}

// load allocates a module's weights.
func (f *follower) load(m *Module) error {
	for _, n := range m.Params {
		if _, err := f.alloc.Alloc(n * int64(m.Width)); err != nil {
			return fmt.Errorf("weights of %s: %w", m.Name, err)
		}
		f.run.Weights += n * int64(m.Width)
	}
	return nil
}

// repeat follows the calls of a stage. Where nothing is kept, it stops when one call ends
// as the one before it did, after which all others do the same.
func (f *follower) repeat(s *Calls) error {
	if f.stage == nil || f.stage.Name != s.Name {
		f.run.Stages = append(f.run.Stages, StageMemory{Name: s.Name, First: len(f.all)})
		f.stage = &f.run.Stages[len(f.run.Stages)-1]
	}
	f.stage.Times += s.Times
	var before []hwmodel.Gap
	for range s.Times {
		c := &call{follower: f, g: s.Graph, at: make([]int32, len(s.Graph.Tensors)), stores: make([]store, 1, len(s.Graph.Tensors)+1)}
		if err := c.forward(); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		f.stage.Traced++
		if s.Keep {
			f.kept = append(f.kept, c.results())
			continue
		}
		c.drop()
		gaps := f.alloc.Gaps()
		if slices.Equal(gaps, before) {
			break
		}
		before = gaps
	}
	return nil
}

// join copies what several calls returned into one tensor for each output.
func (f *follower) join() error {
	calls := f.kept
	f.kept = nil
	if len(calls) < 2 {
		return nil
	}
	for i := range calls[0] {
		var sum int64
		for _, pieces := range calls {
			sum += pieces[i].bytes
		}
		if _, err := f.alloc.Alloc(sum); err != nil {
			return fmt.Errorf("%s: joining its results: %w", f.stage.Name, err)
		}
	}
	f.record(f.alloc.Usage(), "join")
	for _, pieces := range calls {
		for _, p := range pieces {
			f.alloc.Free(p.block)
		}
	}
	return nil
}

// record adds an operator to the series and to the peaks.
func (f *follower) record(most hwmodel.Usage, op string) {
	f.all = append(f.all, MemoryPoint{len(f.all), most})
	f.stage.Peak.raise(most, f.stage.Name, op)
	f.run.Peak.raise(most, f.stage.Name, op)
}

func (p *MemoryPeaks) raise(u hwmodel.Usage, stage, op string) {
	for _, f := range []struct {
		peak  *MemoryPeak
		bytes int64
	}{{&p.Live, u.Live}, {&p.Allocated, u.Allocated}, {&p.Reserved, u.Reserved}} {
		if f.bytes > f.peak.Bytes {
			*f.peak = MemoryPeak{f.bytes, stage, op}
		}
	}
}

// thin returns at most n points, each the most of the points that it stands for.
func thin(all []MemoryPoint, n int) []MemoryPoint {
	if len(all) <= n {
		return all
	}
	points := make([]MemoryPoint, n)
	for i := range points {
		part := all[i*len(all)/n : (i+1)*len(all)/n]
		points[i] = part[0]
		for _, p := range part[1:] {
			points[i].Live = max(points[i].Live, p.Live)
			points[i].Allocated = max(points[i].Allocated, p.Allocated)
			points[i].Reserved = max(points[i].Reserved, p.Reserved)
		}
	}
	return points
}
