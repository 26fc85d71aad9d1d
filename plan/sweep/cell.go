package sweep

import (
	"context"

	"orrery/report"
)

// Setting is a key of the scenario and the value that it takes, as TOML has it.
type Setting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Cell is one run of a sweep. It is data, so it can be run on another machine.
type Cell struct {
	Key      string    `json:"key"`      // what the run depends on; see [Key]
	Index    int       `json:"index"`    // of the row in the table, from 0
	Settings []Setting `json:"settings"` // in the order of the sweep's axes
	Seed     uint64    `json:"seed"`
	// Scenario is the scenario of this cell in TOML, every default written out.
	Scenario []byte `json:"scenario"`
	// Refused says in one line why there is no such scenario, empty if there is. Key and
	// Scenario are then empty, and there is nothing to run.
	Refused string `json:"refused,omitempty"`
}

// Result is what came of a run.
type Result struct {
	Figures Figures `json:"figures"` // nil if the run failed
	// Limit is what limits the run; see [report.Cause].
	Limit report.Cause `json:"limit"`
	// Tightest names the bound of the objective that is exceeded most, or comes closest to
	// being so; see [report.Result.Tightest]. It is in no table.
	Tightest string `json:"tightest,omitempty"`
	Doubt    string `json:"doubt"` // what makes the figures doubtful, empty for nothing known
	Error    string `json:"error"` // why it failed, in one line; empty if it did not
}

// Row is a row of the table: a cell without its scenario, and what came of it.
type Row struct {
	Key      string    `json:"key"`
	Index    int       `json:"index"`
	Settings []Setting `json:"settings"`
	Seed     uint64    `json:"seed"`
	Result
}

// row returns the row of a cell.
func (c *Cell) row(r Result) Row {
	return Row{Key: c.Key, Index: c.Index, Settings: c.Settings, Seed: c.Seed, Result: r}
}

// Store keeps results by key. It is safe for concurrent use, by several processes if they
// share it.
type Store interface {
	// Get returns the result of a key, and false if there is none that is whole.
	Get(key string) (Result, bool, error)
	// Put keeps a result. Of two results of a key, which are the same, either is kept.
	Put(key string, r Result) error
}

// Engine runs cells.
type Engine interface {
	// Run runs the cells that are not refused, in any order, and hands each row to sink once
	// it is there, one at a time. It returns when all have ended, with the error of the
	// engine, or of the context if that ended it early; that a run fails is no error, but
	// stands in its row.
	Run(ctx context.Context, cells []Cell, sink func(Row)) error
}
