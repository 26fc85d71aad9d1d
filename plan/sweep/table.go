package sweep

import (
	"encoding/csv"
	"io"
	"path/filepath"
	"strconv"

	"orrery/internal/whole"
	"orrery/plan"
	"orrery/report"
)

// writeTables writes the tables of a sweep, one after the other, each whole.
func writeTables(folder string, m *Manifest, rows []Row) error {
	for _, t := range []struct {
		file  string
		write func(io.Writer, *Manifest, []Row) error
	}{{ParquetFile, writeParquet}, {CSVFile, writeCSV}, {SummaryFile, writeSummary}} {
		f, err := whole.Create(filepath.Join(folder, t.file))
		if err != nil {
			return err
		}
		defer f.Abort()
		if err := t.write(f, m, rows); err != nil {
			return err
		}
		if err := f.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// writeCSV writes a line a run, with a line of names before them. What does not exist is empty.
func writeCSV(w io.Writer, m *Manifest, rows []Row) error {
	out := csv.NewWriter(w)
	line := make([]string, 0, len(m.Columns))
	for _, c := range m.Columns {
		line = append(line, c.Name)
	}
	if err := out.Write(line); err != nil {
		return err
	}
	axes := m.axes()
	for i := range rows {
		r := &rows[i]
		line = append(line[:0], strconv.Itoa(r.Index), strconv.Itoa(r.Index/len(m.Seeds)), strconv.FormatUint(r.Seed, 10))
		line = appendSettings(line, axes, r)
		for k := range columns {
			line = append(line, figureText(columns[k].Kind, r.figure(k)))
		}
		line = append(line, string(r.Limit), r.Doubt, r.Error, r.Key)
		if err := out.Write(line); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// figure returns a figure of the run, which does not exist if the run failed.
func (r *Row) figure(k int) report.Number {
	if r.Figures == nil {
		return report.None
	}
	return r.Figures[k]
}

func appendSettings(line []string, axes []Column, r *Row) []string {
	for k := range axes {
		figure, text := axes[k].value(r.Settings[k].Value)
		if axes[k].Type != Text {
			text = figureText(axes[k].Type, figure)
		}
		line = append(line, text)
	}
	return line
}

// figureText writes a figure so that it reads back the same.
func figureText(k Kind, v report.Number) string {
	switch {
	case !v.Exists():
		return ""
	case k == Truth:
		return strconv.FormatBool(v != 0)
	case k == Whole:
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(float64(v), 'g', -1, 64)
}

// writeSummary writes a line a setting: how many of its runs succeeded, and of each figure the
// mean over the seeds with the ends of its 95 % interval (see [plan.NewInterval]).
func writeSummary(w io.Writer, m *Manifest, rows []Row) error {
	out := csv.NewWriter(w)
	axes := m.axes()
	line := []string{"setting"}
	for _, c := range axes {
		line = append(line, c.Name)
	}
	line = append(line, "runs", "errors")
	for _, f := range columns {
		line = append(line, f.Name, f.Name+"_low", f.Name+"_high")
	}
	if err := out.Write(line); err != nil {
		return err
	}
	for i := range m.Settings {
		of := rows[i*len(m.Seeds) : (i+1)*len(m.Seeds)]
		line = appendSettings(append(line[:0], strconv.Itoa(i)), axes, &of[0])
		failed := 0
		for k := range of {
			if of[k].Error != "" {
				failed++
			}
		}
		line = append(line, strconv.Itoa(len(of)-failed), strconv.Itoa(failed))
		for k := range columns {
			in := overSeeds(of, k)
			line = append(line, figureText(Number, in.Mean), figureText(Number, in.Low), figureText(Number, in.High))
		}
		if err := out.Write(line); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// overSeeds returns the interval of a figure over the runs of a setting.
func overSeeds(rows []Row, k int) plan.Interval {
	values := make([]float64, len(rows))
	for i := range rows {
		values[i] = float64(rows[i].figure(k))
	}
	return plan.NewInterval(values)
}
