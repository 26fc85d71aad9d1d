package calibrate

import (
	"fmt"
	"path/filepath"

	"orrery/hwmodel"
)

// DecodeRows reads the decode attention calls of one GPU by one source: a batch of
// equal sequences with a 16-bit KV cache.
func DecodeRows(data, gpu, source string) ([]Row, error) {
	var rows []Row
	err := ReadTable(filepath.Join(data, "ops", "attention_decode.csv"), []string{"gpu", "kv_dtype", "batch", "q_heads", "kv_heads", "head_dim", "kv_len", "time_us", "src"}, func(t *Table) error {
		kv := t.Text("kv_dtype")
		if t.Text("gpu") != gpu || t.Text("src") != source || kv != "bf16" && kv != "fp16" {
			return nil
		}
		r := Row{Source: source, Seconds: t.Number("time_us") * 1e-6}
		for i, c := range []string{"batch", "q_heads", "kv_heads", "head_dim", "kv_len"} {
			r.Args[i] = t.Number(c)
		}
		r.Shape = fmt.Sprintf("decode %v", r.Args[:5])
		rows = append(rows, r)
		return nil
	})
	return rows, err
}

// PrefillRows reads the causal prefill attention calls of one GPU by one source:
// a batch of equal chunks, each on top of kv_len - q_len cached tokens.
func PrefillRows(data, gpu, source string) ([]Row, error) {
	var rows []Row
	err := ReadTable(filepath.Join(data, "ops", "attention_prefill.csv"), []string{"gpu", "kv_dtype", "batch", "q_heads", "kv_heads", "head_dim", "q_len", "kv_len", "causal", "time_us", "src"}, func(t *Table) error {
		kv := t.Text("kv_dtype")
		if t.Text("gpu") != gpu || t.Text("src") != source || t.Text("causal") != "1" || kv != "bf16" && kv != "fp16" {
			return nil
		}
		r := Row{Source: source, Seconds: t.Number("time_us") * 1e-6}
		for i, c := range []string{"batch", "q_heads", "kv_heads", "head_dim", "q_len", "kv_len"} {
			r.Args[i] = t.Number(c)
		}
		r.Shape = fmt.Sprintf("prefill %v", r.Args[:6])
		rows = append(rows, r)
		return nil
	})
	return rows, err
}

// FitDecode fits a decode kernel whose query heads share tiles.
func FitDecode(d *hwmodel.Device, rows []Row) (*hwmodel.DecodeKernel, *Result, error) {
	rows = possible(rows, func(r *Row) float64 {
		return 4 * r.Args[0] * r.Args[2] * r.Args[3] * r.Args[4] / d.DRAMBytes
	})
	build := func(p []float64) hwmodel.DecodeKernel {
		return hwmodel.DecodeKernel{Launch: p[0], Bandwidth: p[1], Tail: p[2], Block: p[3], Compute: 1}
	}
	problem := Problem{
		Name: "decode attention", Rows: rows, Clean: []string{rows[0].Source},
		Parameters: []Parameter{
			{Name: "launch", Start: 1e-5, Low: 1e-7, High: 1e-3, Logarithms: true},
			{Name: "bandwidth", Start: 0.8, Low: 0.2, High: 1},
			{Name: "tail", Start: 0.5, Low: 1e-3, High: 20, Logarithms: true},
			{Name: "block", Start: 1e-6, Low: 1e-9, High: 1e-4, Logarithms: true},
		},
		Predict: func(p []float64, r *Row) float64 {
			k := build(p)
			h := hwmodel.Heads{Query: int(r.Args[1]), KV: int(r.Args[2]), Dim: int(r.Args[3]), KVBytes: 2}
			cost := k.On(d, h)
			return cost.Time(int(r.Args[0]), int64(r.Args[0]*r.Args[4]))
		},
	}
	res, err := problem.Solve()
	if err != nil {
		return nil, nil, err
	}
	k := build(res.Values)
	k.Fit = res.Fit
	return &k, res, nil
}

// FitPrefill fits a prefill kernel, trying the block sizes in use.
func FitPrefill(d *hwmodel.Device, rows []Row) (*hwmodel.PrefillKernel, *Result, error) {
	rows = possible(rows, func(r *Row) float64 {
		q, kv := r.Args[4], r.Args[5]
		return 4 * r.Args[0] * r.Args[1] * r.Args[3] * (q*(kv-q) + q*(q+1)/2) / d.FP16FLOPs
	})
	var best *hwmodel.PrefillKernel
	var bestResult *Result
	for _, shape := range [][2]float64{{64, 1}, {64, 2}, {128, 1}, {128, 2}} {
		build := func(p []float64) hwmodel.PrefillKernel {
			return hwmodel.PrefillKernel{Launch: p[0], Compute: p[1], Own: p[2], Wave: p[3], Fill: p[4], Bandwidth: p[5], Rows: shape[0], Resident: shape[1]}
		}
		problem := Problem{
			Name: "prefill attention", Rows: rows, Clean: []string{rows[0].Source},
			Parameters: []Parameter{
				{Name: "launch", Start: 1e-5, Low: 1e-7, High: 1e-3, Logarithms: true},
				{Name: "compute", Start: 0.5, Low: 0.05, High: 1},
				{Name: "own", Start: 1.5, Low: 1, High: 6},
				{Name: "wave", Start: 0.8, Low: 0, High: 1},
				{Name: "fill", Start: 0.5, Low: 0.01, High: 1},
				{Name: "bandwidth", Start: 0.6, Low: 0.05, High: 1},
			},
			Predict: func(p []float64, r *Row) float64 {
				k := build(p)
				h := hwmodel.Heads{Query: int(r.Args[1]), KV: int(r.Args[2]), Dim: int(r.Args[3]), KVBytes: 2}
				b := chunks(r)
				cost := k.On(d, h)
				return cost.Time(&b)
			},
		}
		res, err := problem.Solve()
		if err != nil {
			return nil, nil, err
		}
		if bestResult == nil || res.Loss < bestResult.Loss {
			k := build(res.Values)
			k.Fit = res.Fit
			best, bestResult = &k, res
		}
	}
	return best, bestResult, nil
}

// chunks turns a measured prefill call into a batch.
func chunks(r *Row) hwmodel.Batch {
	n, q, h := int64(r.Args[0]), int64(r.Args[4]), int64(r.Args[5]-r.Args[4])
	return hwmodel.Batch{
		Chunks: int(n), ChunkTokens: int(n * q), ChunkContext: n * h,
		ChunkPairs: n * (q*h + q*(q+1)/2), ChunkSquares: n * q * q,
	}
}

// possible drops rows that are quicker than physics allows: their shape cannot be
// what the file says.
func possible(rows []Row, floor func(r *Row) float64) []Row {
	var out []Row
	for i := range rows {
		if rows[i].Seconds >= floor(&rows[i]) {
			out = append(out, rows[i])
		}
	}
	return out
}
