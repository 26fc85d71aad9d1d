package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"orrery/report"
	"orrery/scenarios"
)

// common are the flags that every verb that simulates has.
type common struct {
	sets  []string
	seed  uint64
	seeds int
	out   string
	force bool
	json  bool

	seedSet bool
}

// add adds the flags; seeds is the help of --seeds, empty for a verb of one run.
func (f *common) add(c *cobra.Command, seeds string) {
	fs := c.Flags()
	fs.StringArrayVarP(&f.sets, "set", "s", nil, "override a key of the scenario, as in traffic.rate=2.5 (repeatable)")
	fs.Uint64Var(&f.seed, "seed", 0, "seed of all random draws (default: the scenario's)")
	if seeds != "" {
		fs.IntVar(&f.seeds, "seeds", 0, seeds)
	}
	fs.StringVarP(&f.out, "out", "o", "", "folder for the results (default: results/TIME-RUN)")
	fs.BoolVar(&f.force, "force", false, "replace the results that are in the folder")
	fs.BoolVar(&f.json, "json", false, "print JSON on standard output")
	c.ValidArgsFunction = completeScenarios
	if err := c.MarkFlagDirname("out"); err != nil {
		panic(err) // the flag was added above
	}
	c.PreRunE = func(c *cobra.Command, _ []string) error {
		f.seedSet = c.Flags().Changed("seed")
		if c.Flags().Changed("seeds") && f.seeds < 1 {
			return inputErrorf("--seeds %d; want a positive number", f.seeds)
		}
		return nil
	}
}

// load reads a scenario with the overrides of the flags, the seed included, so that
// the scenario that is kept with the results repeats them.
func (f *common) load(name string) (*scenarios.Scenario, error) {
	sets := slices.Clone(f.sets)
	if f.seedSet {
		sets = append(sets, fmt.Sprintf("seed=%d", f.seed))
	}
	return scenarios.Load(name, sets...)
}

// replications returns the seeds of a question: as many as the flag says or the
// scenario does, counted up from the scenario's own.
func (f *common) replications(s *scenarios.Scenario, def int) []uint64 {
	n := f.seeds
	if n == 0 {
		n = max(def, 1)
	}
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = s.Seed + uint64(i)
	}
	return seeds
}

// folder begins the folder of results. It does so before the first run, so that
// a bad path is known early.
func (f *common) folder(now time.Time, runID string) (*report.Folder, error) {
	path := f.out
	if path == "" {
		path = "results/" + report.FolderName(now, runID)
	}
	return createFolder(path, f.force)
}

// createFolder begins a folder of results at path. That it must not be replaced is the
// user's to know.
func createFolder(path string, force bool) (*report.Folder, error) {
	folder, err := report.CreateFolder(path, force)
	var system syscall.Errno
	if err != nil && !errors.As(err, &system) {
		if !force {
			err = fmt.Errorf("%w (or give --force to replace results)", err)
		}
		return nil, badInput{err} // refused, rather than failed
	}
	return folder, err
}

// encode returns v as indented JSON.
func encode(v any) ([]byte, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(v)
	return []byte(b.String()), err
}
