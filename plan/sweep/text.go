package sweep

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"orrery/plan"
)

// shown are the figures that a screen has room for.
var shown = []string{"ttft_p99_s", "tbt_p99_s", "e2e_p50_s", "output_tokens_per_s", "goodput_per_s"}

// Text returns a table of means over the seeds, a line a setting, of all rows.
func (m *Manifest) Text(rows []Row) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, text := range m.Vary {
		key, _, _ := strings.Cut(text, "=")
		fmt.Fprintf(w, "%s\t", key)
	}
	figures := m.shown(rows)
	for _, k := range figures {
		fmt.Fprintf(w, "%s\t", label(columns[k].Name))
	}
	fmt.Fprintln(w)
	for i, p := range m.Settings {
		for _, v := range p.Values {
			fmt.Fprintf(w, "%s\t", bare(v))
		}
		of := rows[i*len(m.Seeds) : (i+1)*len(m.Seeds)]
		for _, k := range figures {
			name := columns[k].Name
			fmt.Fprintf(w, "%s\t", unit(name).Text(float64(overSeeds(of, k).Mean)))
		}
		fmt.Fprintln(w)
	}
	w.Flush() // into memory, which does not fail
	return b.String()
}

// shown returns the columns of the figures to show: those that any run has.
func (m *Manifest) shown(rows []Row) (list []int) {
	for _, name := range shown {
		k := slices.IndexFunc(columns, func(f Figure) bool { return f.Name == name })
		if k >= 0 && slices.ContainsFunc(rows, func(r Row) bool { return r.figure(k).Exists() }) {
			list = append(list, k)
		}
	}
	return list
}

func metric(name string) (m plan.Metric, ok bool) {
	i := slices.IndexFunc(plan.Metrics(), func(m plan.Metric) bool { return m.Key == name })
	if i < 0 {
		return m, false
	}
	return plan.Metrics()[i], true
}

func label(name string) string { m, _ := metric(name); return m.Label }

func unit(name string) plan.Unit { m, _ := metric(name); return m.Unit }

// Query returns an SQL query for DuckDB that asks a file of the table for means by setting.
func (m *Manifest) Query(file string) string {
	names := make([]string, 0, len(m.Vary))
	for _, c := range m.axes() {
		names = append(names, c.Name)
	}
	by := strings.Join(names, ", ")
	return fmt.Sprintf("SELECT %s, count(run) AS runs, avg(ttft_p99_s), avg(output_tokens_per_s), avg(goodput_per_s) FROM '%s' GROUP BY %s ORDER BY %s", by, file, by, by)
}

// AllRefused returns what is wrong with the first setting if something is wrong with every one,
// so that there is nothing to run.
func (w *Sweep) AllRefused() error {
	for i := range w.Settings {
		if w.Settings[i].Refused == "" {
			return nil
		}
	}
	return fmt.Errorf("no setting can be run; of the first: %s", w.Settings[0].Refused)
}
