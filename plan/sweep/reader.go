package sweep

import (
	"crypto/sha256"
	"fmt"
	"sync"

	"orrery/scenarios"
)

// reader reads the scenarios of cells, those that were asked for last only once. It is safe
// for concurrent use.
type reader struct {
	parse func(name string, data []byte) (*scenarios.Scenario, error)

	mu    sync.Mutex
	read  map[[sha256.Size]byte]*reading
	order [][sha256.Size]byte // of reading, the oldest first
}

// kept is the number of scenarios that a reader keeps. Cells of a scenario are neighbours, so
// a few more than there are workers suffice.
const kept = 64

// reading is a scenario that was read once, with what its cells' keys are made of.
type reading struct {
	once     sync.Once
	scenario *scenarios.Scenario
	base     keyBase
	err      error
}

func newReader(parse func(string, []byte) (*scenarios.Scenario, error)) *reader {
	return &reader{parse: parse, read: make(map[[sha256.Size]byte]*reading)}
}

// readOwn reads a scenario of this machine's.
func readOwn(name string, data []byte) (*scenarios.Scenario, error) {
	return scenarios.Parse(name, data)
}

// scenario returns the scenario of a cell, if the cell's key is that of this program and of the
// files that are here.
func (r *reader) scenario(c *Cell) (*scenarios.Scenario, error) {
	got := r.reading(c.Scenario)
	got.once.Do(func() {
		if got.scenario, got.err = r.parse("scenario.toml", c.Scenario); got.err == nil {
			got.base, got.err = newKeyBase(c.Scenario, got.scenario.Files())
		}
	})
	if got.err != nil {
		return nil, got.err
	}
	if key := got.base.key(c.Seed); key != c.Key {
		return nil, fmt.Errorf("the run %.12s was planned by another build of this program, or its files have changed since: here it is %.12s; want the same build and files, or the sweep begun anew", c.Key, key)
	}
	return got.scenario, nil
}

// reading returns the place of a scenario, which whoever comes first fills.
func (r *reader) reading(text []byte) *reading {
	sum := sha256.Sum256(text)
	r.mu.Lock()
	defer r.mu.Unlock()
	got, ok := r.read[sum]
	if !ok {
		got = &reading{}
		r.read[sum] = got
		r.order = append(r.order, sum)
		if len(r.order) > kept {
			delete(r.read, r.order[0])
			r.order = r.order[1:]
		}
	}
	return got
}
