package sweep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"orrery/internal/whole"
)

// Shard is a part of a sweep: one of Of parts, from 1. The zero value is all of it.
type Shard struct{ Part, Of int }

// ParseShard reads a part such as 2/8.
func ParseShard(text string) (s Shard, err error) {
	part, of, ok := strings.Cut(text, "/")
	var errPart, errOf error
	s.Part, errPart = strconv.Atoi(part)
	s.Of, errOf = strconv.Atoi(of)
	if !ok || errPart != nil || errOf != nil || s.Part < 1 || s.Part > s.Of {
		return Shard{}, fmt.Errorf("%q is no part; want 2/8 for the second of eight, say", text)
	}
	return s, nil
}

// Has tells whether a cell belongs to the part. It goes by the key, so that the parts are about
// equal even if every other value takes long.
func (s Shard) Has(c *Cell) bool {
	if s.Of < 2 {
		return true
	}
	n := uint64(c.Index) // a refused cell has no key
	if len(c.Key) >= 16 {
		n, _ = strconv.ParseUint(c.Key[:16], 16, 64)
	}
	return n%uint64(s.Of) == uint64(s.Part-1)
}

// Outcome says how far a sweep came.
type Outcome struct {
	Rows     []Row // that are there, by index; all of them if Missing is 0
	Answered int   // of them, by results that were there before
	Missing  int   // of the whole sweep: other shards', or not run before the end
	Failed   []Row // that have an error
	Complete bool  // the tables are written
}

// Run runs what is not answered yet of a part of the sweep, and writes the tables as soon as
// nothing is missing of the whole. Progress, if set, is told how many of the part are done. The
// error is that of the engine or the folder; the outcome says what there is nevertheless.
func (w *Sweep) Run(ctx context.Context, engine Engine, dir *Dir, part Shard, progress func(done, total int)) (*Outcome, error) {
	if err := w.begin(dir.Path); err != nil {
		return nil, err
	}
	g := &gathering{rows: make(map[int]Row, len(w.Cells)), progress: progress}
	var todo []Cell
	for i := range w.Cells {
		c := &w.Cells[i]
		if c.Refused != "" {
			g.rows[c.Index] = c.row(Result{Error: c.Refused})
			continue
		}
		if !part.Has(c) {
			continue
		}
		g.total++
		kept, ok, err := dir.Get(c.Key)
		if err != nil {
			return nil, err
		}
		if ok && kept.Error == "" {
			g.rows[c.Index] = c.row(kept)
			g.answered++
		} else {
			todo = append(todo, *c)
		}
	}
	if err := g.run(ctx, engine, todo, dir); err != nil {
		return g.outcome(len(w.Cells)), err
	}
	if err := g.others(w.Cells, part, dir); err != nil {
		return nil, err
	}
	o := g.outcome(len(w.Cells))
	if o.Missing > 0 {
		return o, nil
	}
	o.Complete = true
	return o, w.finish(dir.Path, o.Rows)
}

// gathering is the rows of a sweep as they come.
type gathering struct {
	rows     map[int]Row // by index
	answered int
	total    int // of the part
	progress func(done, total int)
}

// run has the engine run cells, and keeps what it hands in: a result that was computed on
// another machine may not be in the folder yet.
func (g *gathering) run(ctx context.Context, engine Engine, todo []Cell, dir *Dir) error {
	done := g.answered
	tell := func() {
		if g.progress != nil {
			g.progress(done, g.total)
		}
	}
	tell()
	if len(todo) == 0 {
		return ctx.Err()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := engine.Run(ctx, todo, func(r Row) {
		if err := dir.keep(r); err != nil {
			cancel(err)
			return
		}
		g.rows[r.Index] = r
		done++
		tell()
	})
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// keep puts a row's result into the folder if it is not there.
func (d *Dir) keep(r Row) error {
	if _, err := os.Stat(d.file(r.Key)); err == nil {
		return nil
	}
	return d.Put(r.Key, r.Result)
}

// others adds what there is of the other parts.
func (g *gathering) others(cells []Cell, part Shard, dir *Dir) error {
	for i := range cells {
		c := &cells[i]
		if _, have := g.rows[c.Index]; have || part.Has(c) {
			continue
		}
		kept, ok, err := dir.Get(c.Key)
		if err != nil {
			return err
		}
		if ok {
			g.rows[c.Index] = c.row(kept)
		}
	}
	return nil
}

func (g *gathering) outcome(cells int) *Outcome {
	o := &Outcome{Answered: g.answered, Missing: cells - len(g.rows)}
	for i := range cells {
		r, ok := g.rows[i]
		if !ok {
			continue
		}
		o.Rows = append(o.Rows, r)
		if r.Error != "" {
			o.Failed = append(o.Failed, r)
		}
	}
	return o
}

// begin makes the folder and puts the manifest there.
func (m *Manifest) begin(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return whole.Error(folder, err)
	}
	return locked(folder, func() error { return m.place(folder) })
}

// finish writes the tables, under the manifest: another sweep of the same folder may have put
// its own there meanwhile, and manifest and tables are always of one sweep.
func (m *Manifest) finish(folder string, rows []Row) error {
	return locked(folder, func() error {
		if err := m.place(folder); err != nil {
			return err
		}
		return writeTables(folder, m, rows)
	})
}

// place writes the manifest if it is not there. Tables of another sweep go away, for they are
// not what the manifest says.
func (m *Manifest) place(folder string) error {
	data, err := m.encode()
	if err != nil {
		return err
	}
	file := filepath.Join(folder, ManifestFile)
	if have, err := os.ReadFile(file); err == nil && bytes.Equal(have, data) {
		return nil
	}
	for _, name := range []string{ParquetFile, CSVFile, SummaryFile} {
		if err := os.Remove(filepath.Join(folder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return whole.Error(filepath.Join(folder, name), err)
		}
	}
	return whole.WriteSynced(file, data)
}
