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

// On follows the run on a card with memory bytes, of which outside lie beside the
// allocator. free is the same run with no limit. Where it does not run, the run is nil
// and the error is the [hwmodel.OutOfMemory] with the operator that meets it.
func (f *Footprint) On(memory int64, free *MemoryRun) (Fit, *MemoryRun, error) {
	if free.Device() <= memory {
		return Runs, free, nil
	}
	capacity := memory - free.Outside
	if capacity <= 0 {
		return DoesNotRun, nil, &hwmodel.OutOfMemory{Asked: free.Weights, Capacity: max(capacity, 0)}
	}
	run, err := f.Follow(MemoryOptions{Capacity: capacity, Outside: free.Outside})
	if err != nil {
		return DoesNotRun, nil, err
	}
	return RunsAfterFreeing, run, nil
}

// Smallest returns the memory of the smallest card on which the run completes, to 2 MiB,
// which is the unit in which the driver gives memory. Best fit is no monotone function
// of the capacity: there may be a smaller card on which the run happens to complete,
// below one on which it does not.
func (f *Footprint) Smallest(free *MemoryRun) int64 {
	const unit = 2 << 20
	most := int(free.Peak.Reserved.Bytes / unit)
	least := sort.Search(most, func(n int) bool {
		_, err := f.Follow(MemoryOptions{Capacity: max(int64(n), 1) * unit})
		return err == nil
	})
	return int64(least)*unit + free.Outside
}
