package calibrate

import (
	"fmt"
	"path/filepath"
	"slices"

	"orrery/hwmodel"
)

// StreamRows reads the 16-bit data-moving kernels of one GPU: functions of the
// element-wise and of the row-norm file.
func StreamRows(data, gpu, source string, functions []string) ([]Row, error) {
	var rows []Row
	add := func(t *Table, bytes float64) {
		rows = append(rows, Row{
			Shape: fmt.Sprintf("stream %s %v", t.Text("fn"), bytes), Source: source,
			Seconds: t.Number("time_us") * 1e-6, Args: [13]float64{bytes},
		})
	}
	wanted := func(t *Table) bool {
		return t.Text("gpu") == gpu && t.Text("src") == source && t.Text("dtype") == "fp16" && slices.Contains(functions, t.Text("fn"))
	}
	err := ReadTable(filepath.Join(data, "ops", "elementwise.csv"), []string{"gpu", "dtype", "fn", "elems", "reads", "writes", "time_us", "src"}, func(t *Table) error {
		if wanted(t) {
			add(t, 2*t.Number("elems")*(t.Number("reads")+t.Number("writes")))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = ReadTable(filepath.Join(data, "ops", "rownorm.csv"), []string{"gpu", "dtype", "fn", "rows", "cols", "time_us", "src"}, func(t *Table) error {
		if wanted(t) {
			add(t, 4*t.Number("rows")*t.Number("cols"))
		}
		return nil
	})
	return rows, err
}

// FitStream fits a data-moving kernel.
func FitStream(d *hwmodel.Device, name string, rows []Row) (*hwmodel.Stream, error) {
	if len(rows) == 0 {
		return nil, fmt.Errorf("calibrate: %s on %s: no rows", name, d.Name)
	}
	build := func(p []float64) hwmodel.Stream { return hwmodel.Stream{Launch: p[0], Bandwidth: p[1]} }
	problem := Problem{
		Name: name, Rows: rows, Clean: []string{rows[0].Source},
		Parameters: []Parameter{
			{Name: "launch", Start: 3e-6, Low: 1e-7, High: 1e-4, Logarithms: true},
			{Name: "bandwidth", Start: 0.6, Low: 0.05, High: 1},
		},
		Predict: func(p []float64, r *Row) float64 {
			s := build(p)
			return s.Time(d, r.Args[0])
		},
	}
	res, err := problem.Solve()
	if err != nil {
		return nil, err
	}
	s := build(res.Values)
	s.Fit = res.Fit
	return &s, nil
}
