package sweep

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"orrery/scenarios"
)

// Sweep is a planned sweep.
type Sweep struct {
	Manifest
	Cells []Cell // by index
}

// Plan makes the cells of a sweep over a scenario. A setting that makes no sense is no error:
// its cells are refused, with the reason. The error says what is wrong with the question.
func Plan(ctx context.Context, s *scenarios.Scenario, spec Spec) (*Sweep, error) {
	if err := spec.check(); err != nil {
		return nil, err
	}
	base, err := s.Single()
	if err != nil {
		return nil, err
	}
	build, err := Build()
	if err != nil {
		return nil, err
	}
	w := &Sweep{Manifest: Manifest{
		Schema: 1, Command: "sweep", Scenario: base.Name, Build: build, Base: string(base.Resolved()),
		Sample: spec.Sample, Method: spec.Method, Seeds: spec.Seeds,
	}}
	if spec.Sample == 0 {
		w.Method = ""
	}
	for _, a := range spec.Axes {
		w.Vary = append(w.Vary, a.String())
	}
	settings := spec.settings()
	axes, err := axisColumns(spec.Axes, settings)
	if err != nil {
		return nil, err
	}
	w.Columns = columnsOf(axes)
	w.Settings = make([]Planned, len(settings))
	w.Cells = make([]Cell, len(settings)*len(spec.Seeds))
	if err := each(ctx, len(settings), func(i int) error { return w.plan(s, i, settings[i]) }); err != nil {
		return nil, err
	}
	w.ID = w.id()
	return w, nil
}

// plan fills in one setting and its cells.
func (w *Sweep) plan(s *scenarios.Scenario, i int, settings []Setting) error {
	p := Planned{Values: make([]string, len(settings))}
	sets := make([]string, len(settings))
	for k, x := range settings {
		p.Values[k] = x.Value
		sets[k] = x.Key + "=" + x.Value
	}
	var text []byte
	var base keyBase
	one, err := s.Single(sets...)
	if err == nil {
		text = one.Resolved()
		if base, err = newKeyBase(text, one.Files()); err != nil {
			return err
		}
	} else {
		p.Refused = oneLine(err)
	}
	for k, seed := range w.Seeds {
		c := Cell{Index: i*len(w.Seeds) + k, Settings: settings, Seed: seed, Scenario: text, Refused: p.Refused}
		if p.Refused == "" {
			c.Key = base.key(seed)
			p.Keys = append(p.Keys, c.Key)
		}
		w.Cells[c.Index] = c
	}
	w.Settings[i] = p
	return nil
}

// id names the sweep by all that its tables depend on.
func (w *Sweep) id() string {
	h := sha256.New()
	part(h, w.Build)
	for _, text := range w.Vary {
		part(h, text)
	}
	part(h, fmt.Sprint(w.Seeds))
	for _, p := range w.Settings {
		part(h, strings.Join(p.Values, "\n"))
		part(h, p.Refused)
		part(h, strings.Join(p.Keys, "\n"))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// each calls do for 0 to n-1 on all cores. It returns the error of the lowest number that has
// one, or that of the context.
func each(ctx context.Context, n int, do func(i int) error) error {
	errs := make([]error, n)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && ctx.Err() == nil; i = next.Add(1) - 1 {
				errs[i] = do(int(i))
			}
		})
	}
	workers.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}
