package calibrate

import (
	"fmt"
	"path/filepath"
	"slices"

	"orrery/hwmodel"
)

// CommRows reads the transfers of one GPU by collective, link, number of devices
// and sources.
func CommRows(data, gpu, collective, link string, devices int, sources []string) ([]Row, error) {
	var rows []Row
	err := ReadTable(filepath.Join(data, "ops", "comm.csv"), []string{"gpu", "coll", "n_gpus", "bytes", "link", "time_us", "src"}, func(t *Table) error {
		if t.Text("gpu") != gpu || t.Text("coll") != collective || t.Text("link") != link || int(t.Number("n_gpus")) != devices || !slices.Contains(sources, t.Text("src")) {
			return nil
		}
		rows = append(rows, Row{
			Shape: fmt.Sprintf("%s %d %v", collective, devices, t.Number("bytes")), Source: t.Text("src"),
			Seconds: t.Number("time_us") * 1e-6, Args: [13]float64{t.Number("bytes")},
		})
		return nil
	})
	return balance(rows), err
}

// FitCollective fits an all-reduce. The bandwidth it may reach is bounded by the
// device's links.
func FitCollective(d *hwmodel.Device, link hwmodel.Link, algorithm string, devices int, rows []Row, clean []string) (*hwmodel.Collective, error) {
	name := fmt.Sprintf("all-reduce over %d devices by %s and %s on %s", devices, link, algorithm, d.Name)
	if len(rows) == 0 {
		return nil, fmt.Errorf("calibrate: %s: no rows", name)
	}
	peak := d.LinkBytes * float64(devices) / float64(2*(devices-1))
	build := func(p []float64) hwmodel.Collective {
		return hwmodel.Collective{Link: link, Algorithm: algorithm, Devices: devices, Latency: p[0], Quick: p[1], Setup: p[2], Bulk: p[3]}
	}
	problem := Problem{
		Name: name, Rows: rows, Clean: clean,
		Parameters: []Parameter{
			{Name: "latency", Start: 1.5e-5, Low: 1e-7, High: 1e-3, Logarithms: true},
			{Name: "quick bytes", Start: 1e10, Low: 1e8, High: peak, Logarithms: true},
			{Name: "setup", Start: 5e-5, Low: 1e-7, High: 1e-2, Logarithms: true},
			{Name: "bulk bytes", Start: peak / 2, Low: 1e8, High: peak, Logarithms: true},
		},
		Predict: func(p []float64, r *Row) float64 {
			c := build(p)
			return c.Time(r.Args[0])
		},
	}
	res, err := problem.Solve()
	if err != nil {
		return nil, err
	}
	c := build(res.Values)
	if c.Latency > c.Setup { // the search may find the protocols in either order
		c.Latency, c.Quick, c.Setup, c.Bulk = c.Setup, c.Bulk, c.Latency, c.Quick
	}
	c.Fit = res.Fit
	return &c, nil
}

// FitSend fits a transfer between two devices, no quicker than limit bytes per
// second.
func FitSend(link hwmodel.Link, limit float64, rows []Row) (*hwmodel.Send, error) {
	build := func(p []float64) hwmodel.Send {
		return hwmodel.Send{Link: link, Latency: p[0], Rate: p[1]}
	}
	problem := Problem{
		Name: "send over " + string(link), Rows: rows, Clean: []string{"vidur"},
		Parameters: []Parameter{
			{Name: "latency", Start: 2e-5, Low: 1e-7, High: 1e-2, Logarithms: true},
			{Name: "bytes per second", Start: limit / 2, Low: 1e8, High: limit, Logarithms: true},
		},
		Predict: func(p []float64, r *Row) float64 {
			s := build(p)
			return s.Time(r.Args[0])
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
