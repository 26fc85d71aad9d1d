package calibrate

import (
	"fmt"
	"path/filepath"

	"orrery/hwmodel"
)

// ExpertRows reads the fused layers of experts of one GPU by one source: 16-bit,
// all experts on one device, tokens spread as evenly as the file has them.
func ExpertRows(data, gpu, source, dist string) ([]Row, error) {
	var rows []Row
	columns := []string{"tokens", "experts", "topk", "hidden", "inter", "moe_tp"}
	err := ReadTable(filepath.Join(data, "ops", "moe.csv"), append(columns, "gpu", "dtype", "moe_ep", "dist", "time_us", "src"), func(t *Table) error {
		if t.Text("gpu") != gpu || t.Text("src") != source || t.Text("dtype") != "bf16" || t.Text("dist") != dist || t.Number("moe_ep") != 1 {
			return nil
		}
		r := Row{Source: source, Seconds: t.Number("time_us") * 1e-6}
		for i, c := range columns {
			r.Args[i] = t.Number(c)
		}
		r.Shape = fmt.Sprintf("experts %v", r.Args[:6])
		rows = append(rows, r)
		return nil
	})
	return rows, err
}

// FitGrouped fits the layer of experts on top of the plain products of p.
func FitGrouped(p *hwmodel.Profile, rows []Row) (*hwmodel.Grouped, error) {
	if len(rows) == 0 {
		return nil, fmt.Errorf("calibrate: experts on %s: no rows", p.Device.Name)
	}
	trial := *p
	problem := Problem{
		Name: "experts", Rows: rows, Clean: []string{rows[0].Source},
		Parameters: []Parameter{
			{Name: "launch", Start: 4e-5, Low: 1e-6, High: 1e-3, Logarithms: true},
			{Name: "efficiency", Start: 0.7, Low: 0.1, High: 1},
		},
		Predict: func(v []float64, r *Row) float64 {
			trial.Grouped = hwmodel.Grouped{Launch: v[0], Efficiency: v[1]}
			return trial.Experts(int(r.Args[0]), int(r.Args[1]), int(r.Args[2]), int(r.Args[3]), int(r.Args[4]/r.Args[5]), 2)
		},
	}
	res, err := problem.Solve()
	if err != nil {
		return nil, err
	}
	return &hwmodel.Grouped{Launch: res.Values[0], Efficiency: res.Values[1], Fit: res.Fit}, nil
}
