package requestlog

import (
	"fmt"
	"strings"

	"orrery/calibrate"
)

// RunsFile returns the name of the file that says what served the requests of a log:
// requests.csv has requests_runs.csv beside it.
func RunsFile(log string) string { return strings.TrimSuffix(log, ".csv") + "_runs.csv" }

// ReadRuns reads the engine settings of runs from a CSV file with the columns gpu, model,
// tp, max_num_seqs, max_num_batched_tokens, max_model_len and kv_tokens; the last two may
// be empty.
func ReadRuns(path string) ([]Run, error) {
	var runs []Run
	err := calibrate.ReadTable(path, []string{"gpu", "model", "tp", "max_num_seqs", "max_num_batched_tokens", "max_model_len", "kv_tokens"}, func(t *calibrate.Table) error {
		r := Run{
			GPU: t.Text("gpu"), Model: t.Text("model"), Tensor: int(t.Number("tp")), MaxSeqs: int(t.Number("max_num_seqs")),
			Budget: int(t.Number("max_num_batched_tokens")), MaxLen: int(t.Number("max_model_len")), KVTokens: int64(t.Number("kv_tokens")),
		}
		if r.GPU == "" || r.Model == "" || r.Tensor < 1 || r.MaxSeqs < 1 || r.Budget < 1 || r.MaxLen < 0 || r.KVTokens < 0 {
			return fmt.Errorf("gpu and model must be named, and tp, max_num_seqs and max_num_batched_tokens be whole numbers above 0")
		}
		runs = append(runs, r)
		return nil
	})
	return runs, err
}
