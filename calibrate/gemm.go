package calibrate

import (
	"fmt"
	"path/filepath"
	"slices"

	"orrery/hwmodel"
)

// GEMMRows reads the 16-bit matrix products of one GPU, as the data folder names
// it, by the given sources. Each source weighs the same, however many rows it has.
func GEMMRows(data, gpu string, sources []string) ([]Row, error) {
	var rows []Row
	err := ReadTable(filepath.Join(data, "ops", "gemm.csv"), []string{"gpu", "dtype", "b", "m", "n", "k", "time_us", "src"}, func(t *Table) error {
		if t.Text("gpu") != gpu || !slices.Contains(sources, t.Text("src")) {
			return nil
		}
		if d := t.Text("dtype"); d != "fp16" && d != "bf16" {
			return nil
		}
		m, n, k := t.Number("m"), t.Number("n"), t.Number("k")
		rows = append(rows, Row{
			Shape:   fmt.Sprintf("gemm %v %v %v %v", t.Number("b"), m, n, k),
			Source:  t.Text("src"),
			Seconds: t.Number("time_us") * 1e-6,
			Args:    [13]float64{t.Number("b"), m, n, k},
		})
		return nil
	})
	return balance(rows), err
}

// balance gives every source the same weight in all.
func balance(rows []Row) []Row {
	count := map[string]int{}
	for i := range rows {
		count[rows[i].Source]++
	}
	for i := range rows {
		rows[i].Weight = float64(len(rows)) / float64(len(count)*count[rows[i].Source])
	}
	return rows
}

// FitGEMM fits the matrix product of device d.
func FitGEMM(d *hwmodel.Device, rows []Row, clean []string) (*hwmodel.GEMM, *Result, error) {
	var best *hwmodel.GEMM
	var bestResult *Result
	for _, norm := range []int{1, 2, 4} {
		build := func(p []float64) hwmodel.GEMM {
			return hwmodel.GEMM{
				Launch: p[0], Compute: [4]float64{p[1], p[2], p[3], p[4]}, Bandwidth: p[5],
				Wave: p[6], Fill: p[7], Split: p[8], Norm: norm,
			}
		}
		problem := Problem{
			Name: "gemm", Rows: rows, Clean: clean,
			Parameters: []Parameter{
				{Name: "launch", Start: 3e-6, Low: 1e-7, High: 5e-5, Logarithms: true},
				{Name: "compute 256x128", Start: 0.85, Low: 0.2, High: 1},
				{Name: "compute 128x128", Start: 0.8, Low: 0.2, High: 1},
				{Name: "compute 128x64", Start: 0.65, Low: 0.1, High: 1},
				{Name: "compute 64x64", Start: 0.5, Low: 0.05, High: 1},
				{Name: "bandwidth", Start: 0.85, Low: 0.3, High: 1},
				{Name: "wave", Start: 0.6, Low: 0, High: 1},
				{Name: "fill", Start: 200, Low: 1, High: 5000, Logarithms: true},
				{Name: "split cost", Start: 0.5, Low: 0.01, High: 1},
			},
			Predict: func(p []float64, r *Row) float64 {
				g := build(p)
				return g.Batched(d, r.Args[0], int(r.Args[1]), int(r.Args[2]), int(r.Args[3]), 2)
			},
		}
		res, err := problem.Solve()
		if err != nil {
			return nil, nil, err
		}
		if bestResult == nil || res.Loss < bestResult.Loss {
			g := build(res.Values)
			g.Fit = res.Fit
			best, bestResult = &g, res
		}
	}
	return best, bestResult, nil
}
