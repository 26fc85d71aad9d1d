package diffusion

import (
	"sort"

	"orrery/hwmodel"
)

// Fit says how a run goes on a card.
type Fit uint8

const (
	DoesNotRun       Fit = iota // an allocation fails, whatever is freed for it
	RunsAfterFreeing            // it completes, but only as cached blocks are given back to the driver, or convolutions go without workspace
	Runs                        // all that the allocator comes to hold has room
)

var fitNames = [...]string{"does not run", "runs only after freeing cached blocks", "runs"}

// String says it in words.
func (f Fit) String() string { return fitNames[f] }

// Which gap a small tensor falls into that outlives its call hangs on every request before
// it, so that a run may complete with less memory and fail with more: a card is taken to
// run what completes with any limit to the allocator below its own size. PyTorch can be
// given one (torch.cuda.set_per_process_memory_fraction).

// On follows the run on a card with memory bytes, of which free.Outside lie beside the
// allocator. free is the same run with no limit. Where it does not run, the run is nil
// and the error wraps the [hwmodel.OutOfMemory] that meets it with all of the card.
func (f *Footprint) On(memory int64, free *MemoryRun) (Fit, *MemoryRun, error) {
	if free.Device() <= memory {
		return Runs, free, nil
	}
	room := memory - free.Outside
	if room <= 0 {
		return DoesNotRun, nil, &hwmodel.OutOfMemory{Asked: free.Weights, Capacity: max(room, 0)}
	}
	run, err := f.Follow(MemoryOptions{Capacity: room, Outside: free.Outside})
	if err == nil {
		return RunsAfterFreeing, run, nil
	}
	const parts = 24
	for n := parts - 1; n > parts/2; n-- {
		limit := room * int64(n) / parts
		if limit < free.Weights {
			break
		}
		if run, e := f.Follow(MemoryOptions{Capacity: limit, Outside: free.Outside}); e == nil {
			run.Limit = limit
			return RunsAfterFreeing, run, nil
		}
	}
	return DoesNotRun, nil, err
}

// Smallest returns the memory of the smallest card on which the run completes. It tries
// capacities in steps of a twentieth of what the run holds without a limit, and what lies
// below the first that suffices to 2 MiB, which is the unit in which the driver gives memory.
func (f *Footprint) Smallest(free *MemoryRun) int64 {
	const unit, steps = 2 << 20, 20
	completes := func(units int64) bool {
		_, err := f.Follow(MemoryOptions{Capacity: max(units, 1) * unit})
		return err == nil
	}
	first := free.Weights / unit
	span := free.Peak.Reserved.Bytes/unit - first
	below, at := first, first+span
	for n := int64(1); n < steps; n++ {
		if c := first + span*n/steps; completes(c) {
			at = c
			break
		} else {
			below = c
		}
	}
	more := sort.Search(int(at-below), func(n int) bool { return completes(below + int64(n)) })
	return (below+int64(more))*unit + free.Outside
}
