package sweep

import "fmt"

// Merge brings the parts of a sweep together that were run into several folders, and writes the
// tables into one, which may be one of them. All must be of the same sweep.
func Merge(folders []string, into string, note func(line string)) (*Manifest, *Outcome, error) {
	if len(folders) == 0 {
		return nil, nil, fmt.Errorf("nothing to merge; want the folders of a sweep's parts")
	}
	var m *Manifest
	stores := make([]*Dir, len(folders))
	for i, folder := range folders {
		one, err := ReadManifest(folder)
		if err != nil {
			return nil, nil, err
		}
		if m == nil {
			m = one
		}
		if one.ID != m.ID {
			return nil, nil, fmt.Errorf("%s is of another sweep than %s: other settings, seeds, files, or another build of the program; want parts of one", folder, folders[0])
		}
		stores[i] = &Dir{Path: folder, Note: note}
	}
	if err := m.begin(into); err != nil {
		return nil, nil, err
	}
	g := &gathering{rows: make(map[int]Row)}
	cells := m.cells()
	target := &Dir{Path: into, Note: note}
	for i := range cells {
		if err := g.collect(&cells[i], stores, target); err != nil {
			return nil, nil, err
		}
	}
	o := g.outcome(len(cells))
	if o.Missing > 0 {
		return m, o, nil
	}
	o.Complete = true
	return m, o, m.finish(into, o.Rows)
}

// collect takes a cell's result from whichever folder has it, a success before a failure, and
// puts it into the target.
func (g *gathering) collect(c *Cell, from []*Dir, target *Dir) error {
	if c.Refused != "" {
		g.rows[c.Index] = c.row(Result{Error: c.Refused})
		return nil
	}
	for _, d := range from {
		r, ok, err := d.Get(c.Key)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		g.rows[c.Index] = c.row(r)
		if r.Error == "" {
			break
		}
	}
	row, ok := g.rows[c.Index]
	if !ok {
		return nil
	}
	if have, ok, err := target.Get(c.Key); err != nil || ok && have.Error == "" {
		return err
	}
	return target.Put(c.Key, row.Result)
}
