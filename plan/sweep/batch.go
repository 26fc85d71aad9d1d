package sweep

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"orrery/scenarios"
)

// RunBatch runs cells one after the other and returns their rows in the same order. A cell
// whose result is in the store is answered from there, a result that is new is put there.
// Cells of equal scenarios are best neighbours, since a scenario is then read once.
//
// A run that fails is a row with an error. It is kept as well, so that others can see it, but
// run again when it is asked for again. The error of RunBatch is that of the store or of the
// context: the rows are then those that were ready.
func RunBatch(ctx context.Context, cells []Cell, store Store) ([]Row, error) {
	return runBatch(ctx, cells, store, newReader(readOwn))
}

// RunClosedBatch is [RunBatch] for cells that come from another machine: a scenario that names
// files is refused, before any is opened.
func RunClosedBatch(ctx context.Context, cells []Cell, store Store) ([]Row, error) {
	return runBatch(ctx, cells, store, newReader(scenarios.ParseClosed))
}

func runBatch(ctx context.Context, cells []Cell, store Store, r *reader) ([]Row, error) {
	rows := make([]Row, 0, len(cells))
	for i := range cells {
		row, err := runCell(ctx, &cells[i], store, r)
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// runCell answers one cell.
func runCell(ctx context.Context, c *Cell, store Store, r *reader) (Row, error) {
	if err := ctx.Err(); err != nil {
		return Row{}, err
	}
	if c.Refused != "" {
		return c.row(Result{Error: c.Refused}), nil
	}
	kept, ok, err := store.Get(c.Key)
	if err != nil {
		return Row{}, err
	}
	if ok && kept.Error == "" {
		return c.row(kept), nil
	}
	s, err := r.scenario(c)
	if err != nil {
		return c.row(Result{Error: oneLine(err)}), nil // not kept: the key is not of what is here
	}
	result := run(ctx, s, c.Seed)
	if err := ctx.Err(); err != nil {
		return Row{}, err // a run that was cut short proves nothing
	}
	return c.row(result), store.Put(c.Key, result)
}

// run carries one run out. A broken law, or a panic, is an error of this run alone.
func run(ctx context.Context, s *scenarios.Scenario, seed uint64) (result Result) {
	defer func() {
		if cause := recover(); cause != nil {
			result = Result{Error: oneLine(fmt.Errorf("a mistake in this program: %v", cause))}
		}
	}()
	r, _, err := scenarios.Run(ctx, s, seed, scenarios.Options{})
	var broken *scenarios.BrokenLaw
	switch {
	case errors.As(err, &broken):
		return Result{Error: oneLine(fmt.Errorf("a mistake in this program: %w", broken.Err))}
	case err != nil:
		return Result{Error: oneLine(err)}
	}
	return Result{Figures: figuresOf(r), Limit: r.Limit.Cause, Tightest: r.Tightest(), Doubt: strings.Join(r.Flags, "; ")}
}

// oneLine returns an error as one line.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
