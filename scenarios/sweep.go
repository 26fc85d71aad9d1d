package scenarios

import (
	"path/filepath"
	"slices"
)

// Single returns the scenario of one run, with more overrides applied: without the
// sections about questions that take many runs, and about what is printed of it, and with the
// default seed. Runs that are the same have the same [Scenario.Resolved] whatever was asked
// about them.
func (s *Scenario) Single(sets ...string) (*Scenario, error) {
	doc := s.doc.clone()
	for _, key := range []string{"description", "seed", "output", "compare", "capacity", "fleet", "plan", "sweep"} {
		doc.drop(key)
	}
	return load(doc, sets)
}

// Files returns the absolute paths of the files and folders that the scenario names, such as
// traces and tables of costs, in alphabetical order. What a run does depends on what they hold.
func (s *Scenario) Files() []string {
	files := slices.Clone(s.files)
	slices.Sort(files)
	return slices.Compact(files)
}

// ParseClosed is [Parse] for a text that comes from another machine: it refuses a scenario
// that names files, before any is opened. All that is shipped can be named.
func ParseClosed(name string, data []byte) (*Scenario, error) {
	doc, err := parse(name, data)
	if err != nil {
		return nil, err
	}
	doc.closed = true
	return load(doc, nil)
}

// ErrorAt returns an error about the key of a path such as sweep.vary[1], with file and line.
func (s *Scenario) ErrorAt(path, format string, args ...any) *Error {
	return s.doc.errorf(path, format, args...)
}

// mayRead notes that the scenario names a file, and refuses it where it may name none.
func (c *checker) mayRead(key, file string) bool {
	if c.d.doc.closed {
		c.fail(key, "names a file, %s; want none in a scenario from elsewhere", file)
		return false
	}
	if abs, err := filepath.Abs(file); err == nil {
		file = abs
	}
	c.s.files = append(c.s.files, file)
	return true
}

func (c *checker) sweep(w *Sweep) {
	c.between("sample", w.Sample, 0, 1_000_000)
	c.between("seeds", w.Seeds, 1, 100_000)
	if w.Method != "latin" && w.Method != "random" {
		c.fail("method", `is %q; want "latin" (hypercube) or "random"`, w.Method)
	}
	if len(w.Vary) == 0 && w.Sample > 0 {
		c.fail("sample", `is %d, of nothing; want sweep.vary = ["traffic.rate=1..8"], say`, w.Sample)
	}
}
