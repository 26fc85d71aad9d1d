package calibrate

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"orrery/workloads/training"
)

// writeTable puts a table into docs/training-clusters.md if asked to by -update. What is
// priced there rests on the steps of single devices as well, so that tables are
// written and not compared: limits below are what is held.
func writeTable(t *testing.T, name, table string) {
	t.Helper()
	writeTableOf(t, "../docs/training-clusters.md", name, table)
}

// writeTableOf is writeTable for any file.
func writeTableOf(t *testing.T, file, name, table string) {
	t.Helper()
	if !*updateDiffusion {
		return
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(data), "<!-- "+name+" -->\n")
	_, tail, ended := strings.Cut(rest, "<!-- end -->")
	if !found || !ended {
		t.Fatalf("%s has no table %q", file, name)
	}
	text := head + "<!-- " + name + " -->\n" + table + "<!-- end -->" + tail
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// compareTableOf fails unless the table stands in the file as it is.
func compareTableOf(t *testing.T, file, name, table string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), "<!-- "+name+" -->\n"+table+"<!-- end -->") {
		t.Errorf("%s has another table %q; go test ./calibrate -run Page -update writes it", file, name)
	}
}

// percentile returns the error that the given share of wholes lies below.
func percentile(wholes []Whole, share float64) float64 {
	var errs []float64
	for i := range wholes {
		errs = append(errs, wholes[i].Error())
	}
	slices.Sort(errs)
	return errs[min(len(errs)-1, int(share*float64(len(errs))))]
}

// lines returns a line of a table for each group of wholes, and one for all.
func lines(wholes []Whole, group func(w *Whole) string) string {
	groups := map[string][]Whole{}
	for i := range wholes {
		g := group(&wholes[i])
		groups[g] = append(groups[g], wholes[i])
	}
	var b strings.Builder
	line := func(name string, ws []Whole) {
		ratios := make([]float64, len(ws))
		for i := range ws {
			ratios[i] = ws[i].Predicted / ws[i].Measured
		}
		fmt.Fprintf(&b, "| %s | %d | %.1f %% | %.0f %% | %.2f |\n", name, len(ws), 100*MedianError(ws), 100*percentile(ws, 0.9), median(ratios))
	}
	for _, g := range sortedKeys(groups) {
		line(g, groups[g])
	}
	line("all", wholes)
	return b.String()
}

const tableHead = "| | rows | median error | 90 % below | predicted : measured, median |\n|---|--:|--:|--:|--:|\n"

func held(t *testing.T, what string, wholes []Whole, rows int, most float64) {
	t.Helper()
	if got := MedianError(wholes); len(wholes) < rows || got > most {
		t.Errorf("%s: median error %.1f %% over %d rows, allowed %.0f %% over %d", what, 100*got, len(wholes), 100*most, rows)
	}
}

func byBoard(w *Whole) string { return w.GPU }

// Language models on 8 to 512 devices. One constant was found on these rows, how much slower
// H100s run than in single kernels, on one of the nine sizes.
func TestFoundrySteps(t *testing.T) {
	dir, profiles := measurements(t), everyProfile(t)
	wholes, err := FoundrySteps(dir, profiles)
	if err != nil {
		t.Fatal(err)
	}
	held(t, "llm-foundry", wholes, 150, 0.10)
	writeTable(t, "foundry", tableHead+lines(wholes, byBoard))
}

// Runs that were measured did fit into their devices, most of which were filled as far as a power
// of two or so of the batch allows.
func TestWhatRanFits(t *testing.T) {
	dir, profiles := measurements(t), everyProfile(t)
	rows, over := 0, 0
	columns := []string{"model", "seqlen", "n_gpus", "gpu", "micro_batch", "grad_accum", "sharding", "act_ckpt"}
	err := ReadTable(filepath.Join(dir, "engine", "training_llmfoundry.csv"), columns, func(r *Table) error {
		s := FoundrySetup(r)
		m, err := s.Memory()
		if err != nil {
			return err
		}
		rows++
		if p := profileFor(profiles, r.Text("gpu"), false); m.Total > p.Device.Memory {
			over++
			t.Logf("%s, %d tokens, batch %d on %d %s: %.1f GB of %.1f", s.Network, s.Sequence, s.Batch, s.Devices, p.Device.GPU, float64(m.Total)/1e9, float64(p.Device.Memory)/1e9)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if rows < 150 || over > rows/20 {
		t.Errorf("%d of %d runs would not have fit", over, rows)
	}
}

// Lambda's batches are those that fill a device. Those of image networks and encoders, whose attention
// keeps its scores, fit to within a tenth, and take most of it.
func TestBatchesThatFillDevices(t *testing.T) {
	dir, profiles := measurements(t), everyProfile(t)
	var shares []float64
	err := ReadTable(filepath.Join(dir, "engine", "training_throughput_lambda.csv"), []string{"gpu", "model", "precision", "batch_per_gpu"}, func(r *Table) error {
		s, ok := lambdaSetups[r.Text("model")]
		p := profileFor(profiles, r.Text("gpu"), false)
		if !ok || p == nil || !slices.Contains([]string{"resnet50", "SSD", "bert_base_squad", "bert_large_squad"}, r.Text("model")) {
			return nil
		}
		s.Batch, s.Precision = int(r.Number("batch_per_gpu")), training.TF32
		if r.Text("precision") != "FP32" {
			s.Precision = training.AMP
		}
		m, err := s.Memory()
		share := float64(m.Total) / float64(p.Device.Memory)
		shares = append(shares, share)
		if share > 1.1 {
			t.Errorf("%s, batch %d in %s takes %.2f of %s", s.Network, s.Batch, s.Precision, share, r.Text("gpu"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if m := median(shares); len(shares) < 100 || m < 0.6 || m > 1 {
		t.Errorf("%d batches take %.2f of their devices in the median", len(shares), m)
	}
}

// Steps of five networks on five clusters of up to 16 devices. Rates of links were found on
// BERT; the other networks are predictions.
func TestSiaClusters(t *testing.T) {
	dir, profiles := measurements(t), everyProfile(t)
	rows, err := ReadSia(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if !*updateDiffusion { // all rows take seconds, and say the same
		rows = slices.DeleteFunc(rows, func(r SiaRow) bool { return r.Setup.Batch%5 > 0 })
	}
	for _, alone := range []bool{true, false} {
		wholes, err := SiaSteps(rows, profiles, alone, nil)
		if err != nil {
			t.Fatal(err)
		}
		name, limit := "sia-whole", 0.20
		if alone {
			name, limit = "sia-exchange", 0.12
		}
		held(t, name, wholes, 500, limit)
		predicted := slices.DeleteFunc(slices.Clone(wholes), func(w Whole) bool { return w.Set == "sia bert" })
		held(t, name+" but BERT", predicted, 400, limit)
		writeTable(t, name, tableHead+lines(wholes, func(w *Whole) string { return strings.TrimPrefix(w.Set, "sia ") + ", " + w.GPU }))
	}
}

// The rates of links are the best there are for the rows they were found on, as far as steps
// of a tenth tell.
func TestLinksAreTheBest(t *testing.T) {
	dir, profiles := measurements(t), everyProfile(t)
	rows, err := ReadSia(dir, "bert")
	if err != nil {
		t.Fatal(err)
	}
	rows = slices.DeleteFunc(rows, func(r SiaRow) bool { return r.GPU != "quadro_rtx6000" })
	for name, predict := range map[string]func(l training.Links) ([]Whole, error){
		"sia-quad": func(l training.Links) ([]Whole, error) { return SiaSteps(rows, profiles, true, &l) },
		"gavel": func(l training.Links) ([]Whole, error) {
			wholes, err := GavelSteps(dir, profiles, &l)
			return slices.DeleteFunc(wholes, func(w Whole) bool { return w.GPU != "p100" || !strings.HasPrefix(w.What, "ResNet-18") }), err
		},
	} {
		system, err := training.LoadSystem(name)
		if err != nil {
			t.Fatal(err)
		}
		start := system.Wires()
		got, err := FitLinks(start, predict)
		if err != nil {
			t.Fatal(err)
		}
		for i, pair := range [][2]float64{{got.Pair, start.Pair}, {got.Path, start.Path}, {got.Network, start.Network}} {
			if math.Abs(pair[0]/pair[1]-1) > 0.3 {
				t.Errorf("%s: rate %d is best at %.3g, not at %.3g", name, i, pair[0], pair[1])
			}
		}
	}
}

// What is left of the throughput of one device on 2, 4 and 8 of a machine. Nothing was fitted to these rows.
func TestLambdaClusters(t *testing.T) {
	dir, profiles := measurements(t), everyProfile(t)
	wholes, err := LambdaClusters(dir, profiles)
	if err != nil {
		t.Fatal(err)
	}
	held(t, "lambda", wholes, 150, 0.15)
	writeTable(t, "lambda", tableHead+lines(wholes, byBoard))
}

// Steps on 2, 4 and 8 devices of P100 and V100. The rates of the P100s' links were found on
// ResNet-18.
func TestGavelClusters(t *testing.T) {
	dir, profiles := measurements(t), everyProfile(t)
	wholes, err := GavelSteps(dir, profiles, nil)
	if err != nil {
		t.Fatal(err)
	}
	held(t, "gavel", wholes, 150, 0.20)
	writeTable(t, "gavel", tableHead+lines(wholes, func(w *Whole) string {
		job, _, _ := strings.Cut(w.What, " (")
		return job + ", " + w.GPU + map[bool]string{true: ", one a node", false: ", one node"}[strings.HasSuffix(w.What, " of 1 a node")]
	}))
}

// Two jobs on one device. Where the speed of a job alone is known only from other batches,
// that guess adds to the error.
func TestGavelPairs(t *testing.T) {
	dir := measurements(t)
	for _, measured := range []bool{true, false} {
		wholes, err := GavelPairs(dir, measured)
		if err != nil {
			t.Fatal(err)
		}
		name, rows, limit := "pairs-all", 900, 0.25
		if measured {
			name, rows, limit = "pairs", 300, 0.20
		}
		held(t, name, wholes, rows, limit)
		writeTable(t, name, tableHead+lines(wholes, byBoard))
	}
}

// Pairs that did not run are those that do not fit: of those whose networks are described, at
// least 95 of 100 are told right, and hardly any that ran is refused.
func TestGavelFits(t *testing.T) {
	dir, profiles := measurements(t), everyProfile(t)
	c, err := GavelFits(dir, profiles)
	if err != nil {
		t.Fatal(err)
	}
	if all := c[0] + c[1] + c[2] + c[3]; all < 250 || 20*(c[1]+c[2]) > all || 100*c[1] > all || c[3] == 0 {
		t.Errorf("%d pairs ran and fit, %d ran and do not, %d did not run and fit, %d neither", c[0], c[1], c[2], c[3])
	}
}

// The links that tables above rest on.
func TestLinks(t *testing.T) {
	table := "| system | pair | node | network | adapters | |\n|---|--:|--:|--:|--:|---|\n"
	rate := func(v float64) string {
		if v == 0 {
			return "profile"
		}
		return fmt.Sprintf("%.3g", v/1e9)
	}
	n := 0
	for _, s := range training.Systems() {
		l := s.Wires()
		if l.Source == "" {
			continue
		}
		n++
		table += fmt.Sprintf("| %s | %s | %s | %s | %d | %s |\n", s.Name, rate(l.Pair), rate(l.Path), rate(l.Network), max(l.Ways, 1), l.Source)
		if l.Fitted != strings.Contains(l.Source, "fitted") || l.Network <= 0 || l.Pair > 0 && l.Path < l.Pair {
			t.Errorf("%s: %+v", s.Name, l)
		}
	}
	if n < 8 {
		t.Errorf("%d systems have links", n)
	}
	writeTable(t, "links", table)
}

// How many devices of 80 GB hold a step of one sequence of 2048 tokens with Adam.
func TestFewestTable(t *testing.T) {
	const memory = 80e9
	table := "| model | parameters | ZeRO-1 | ZeRO-2 | FSDP | FSDP, checkpoints | adapters of rank 16, checkpoints |\n|---|--:|--:|--:|--:|--:|--:|\n"
	for _, name := range []string{"mpt-1b", "mpt-7b", "mpt-13b", "mpt-30b", "mpt-70b", "llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b"} {
		n, err := training.LoadNetwork(name)
		if err != nil {
			t.Fatal(err)
		}
		table += fmt.Sprintf("| %s | %.1f billion |", name, float64(n.Params())/1e9)
		last := math.MaxInt
		for i, s := range []training.Setup{
			{Sharding: training.ZeRO1}, {Sharding: training.ZeRO2}, {Sharding: training.FSDP}, {Sharding: training.FSDP, Checkpoint: true}, {Sharding: training.FSDP, Checkpoint: true, LoRA: 16},
		} {
			s.Network, s.Batch, s.Sequence = name, 1, 2048
			fewest, err := s.Fewest(memory, 4096)
			if err != nil {
				table += " none |"
				continue
			}
			if fewest > last {
				t.Errorf("%s: kind %d needs %d devices, the one before %d", name, i, fewest, last)
			}
			last = fewest
			table += fmt.Sprintf(" %d |", fewest)
		}
		table += "\n"
	}
	writeTable(t, "fewest", table)
}
