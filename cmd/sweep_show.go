package cmd

import (
	"fmt"
	"path/filepath"
	"strings"

	"orrery/plan/sweep"
)

// mostFailures and mostSettings bound what is printed; the tables have all of it.
const (
	mostFailures = 10
	mostSettings = 40
)

// sweepAnswer is what sweep prints with --json.
type sweepAnswer struct {
	Schema   int            `json:"schema"`
	Command  string         `json:"command"`
	ID       string         `json:"id"`
	Folder   string         `json:"folder"`
	Settings int            `json:"settings"`
	Seeds    []uint64       `json:"seeds"`
	Answered int            `json:"answered"` // runs whose results were there before
	Missing  int            `json:"missing"`
	Complete bool           `json:"complete"` // the tables are written
	Errors   []sweepFailure `json:"errors"`
}

// sweepFailure is a run without a result, or all runs of a setting that was refused.
type sweepFailure struct {
	Cell     int             `json:"cell"` // the first one
	Settings []sweep.Setting `json:"settings"`
	Seed     *uint64         `json:"seed"` // null for all of a setting
	Error    string          `json:"error"`
}

func (f *sweepFailure) name() string {
	words := make([]string, len(f.Settings))
	for i, s := range f.Settings {
		words[i] = s.Key + "=" + s.Value
	}
	if f.Seed != nil {
		words = append(words, fmt.Sprintf("seed %d", *f.Seed))
	}
	return strings.Join(words, " ")
}

// showSweep prints what came of a sweep, and returns the error that its exit status asks for.
func (a *app) showSweep(m *sweep.Manifest, o *sweep.Outcome, folder string, asJSON bool) error {
	failed := failures(m, o)
	for i, f := range failed {
		if i == mostFailures {
			a.note("and %d more; see the column error", len(failed)-i)
			break
		}
		a.note("%s: %s", f.name(), f.Error)
	}
	if err := a.printSweep(m, o, failed, folder, asJSON); err != nil {
		return err
	}
	if len(failed) > 0 {
		return errFailedRuns
	}
	return nil
}

func (a *app) printSweep(m *sweep.Manifest, o *sweep.Outcome, failed []sweepFailure, folder string, asJSON bool) error {
	if asJSON {
		data, err := encode(sweepAnswer{
			Schema: 1, Command: "sweep", ID: m.ID, Folder: folder, Settings: len(m.Settings), Seeds: m.Seeds,
			Answered: o.Answered, Missing: o.Missing, Complete: o.Complete, Errors: failed,
		})
		if err == nil {
			_, err = a.out.Write(data)
		}
		return err
	}
	var b strings.Builder
	total := len(m.Settings) * len(m.Seeds)
	fmt.Fprintf(&b, "%s: %s, %s from %d, %s", m.Scenario, count(len(m.Settings), "setting"), count(len(m.Seeds), "seed"), m.Seeds[0], count(total, "run"))
	if o.Answered > 0 {
		fmt.Fprintf(&b, ", %d of them known before", o.Answered)
	}
	if len(o.Failed) > 0 {
		fmt.Fprintf(&b, ", %d without a result", len(o.Failed))
	}
	b.WriteByte('\n')
	if !o.Complete {
		fmt.Fprintf(&b, "%d runs are missing, of other parts; the tables are written when the last part has run into %s,\nor by orrery sweep --merge with all folders\n", o.Missing, folder)
	} else {
		if len(m.Settings) <= mostSettings {
			fmt.Fprintf(&b, "means over the seeds\n%s", m.Text(o.Rows))
		}
		fmt.Fprintf(&b, "\ntables in %s: %s, %s, %s\nto ask them more, with DuckDB for instance:\n  %s\n",
			folder, sweep.ParquetFile, sweep.CSVFile, sweep.SummaryFile, duckLine(m, folder))
	}
	_, err := a.out.Write([]byte(b.String()))
	return err
}

// duckLine returns a command that asks the table for means by setting.
func duckLine(m *sweep.Manifest, folder string) string {
	file := filepath.ToSlash(filepath.Join(folder, sweep.ParquetFile))
	return fmt.Sprintf(`duckdb -c "%s"`, m.Query(strings.ReplaceAll(file, "'", "''")))
}

// failures lists what has no result: settings that were refused once, and single runs.
func failures(m *sweep.Manifest, o *sweep.Outcome) []sweepFailure {
	list := []sweepFailure{}
	for _, r := range o.Failed {
		f := sweepFailure{Cell: r.Index, Settings: r.Settings, Error: r.Error}
		if r.Key != "" {
			f.Seed = &r.Seed
		} else if r.Index%len(m.Seeds) > 0 {
			continue
		}
		list = append(list, f)
	}
	return list
}

// count writes a number of things.
func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}
