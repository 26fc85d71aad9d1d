package cmd

import (
	"encoding/csv"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unicode"
)

// published has capacities of the Sarathi-Serve paper, requests per second.
type published map[cell]float64

// cell is one bar of the paper's figures 10 and 11.
type cell struct{ model, dataset, slo, system string }

// systems are the columns of the published table, in the order of the paper.
var systems = []string{"orca", "vllm", "sarathi"}

// readPublished reads a CSV file with the columns model, dataset, slo, orca_qps,
// vllm_qps and sarathi_qps; others are ignored, and empty capacities are left out.
func readPublished(path string) (published, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, badInput{err}
	}
	defer f.Close()
	r := csv.NewReader(f)
	rows, err := r.ReadAll()
	if err != nil {
		return nil, inputErrorf("%s: %w", path, err)
	}
	if len(rows) == 0 {
		return nil, inputErrorf("%s: empty; want a header line and one line for each model, dataset and SLO", path)
	}
	column := make(map[string]int)
	for i, name := range rows[0] {
		column[name] = i
	}
	for _, name := range []string{"model", "dataset", "slo", "orca_qps", "vllm_qps", "sarathi_qps"} {
		if _, ok := column[name]; !ok {
			return nil, inputErrorf("%s:1: no column %s; want model, dataset, slo, orca_qps, vllm_qps and sarathi_qps", path, name)
		}
	}
	p := make(published)
	for i, row := range rows[1:] {
		for _, system := range systems {
			text := row[column[system+"_qps"]]
			if text == "" {
				continue
			}
			qps, err := strconv.ParseFloat(text, 64)
			if err != nil || !(qps > 0) {
				return nil, inputErrorf("%s:%d: %s_qps is %q; want a positive number", path, i+2, system, text)
			}
			p[cell{plainName(row[column["model"]]), datasetOf(row[column["dataset"]]), row[column["slo"]], system}] = qps
		}
	}
	return p, nil
}

// plainName leaves the letters and digits of a name, so that LLaMA2-70B is llama2-70b.
func plainName(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, name)
}

// datasetOf names the two datasets of the paper as the scenarios do.
func datasetOf(name string) string {
	switch {
	case strings.Contains(name, "sharegpt"):
		return "chat"
	case strings.Contains(name, "arxiv"):
		return "arxiv"
	}
	return name
}

// cellOf returns the bar that a variant of a shipped scenario reproduces. Scenarios are
// called MODEL-DATASET, and their variants SYSTEM SLO.
func cellOf(scenario, variant string) (cell, error) {
	cut := strings.LastIndex(scenario, "-")
	system, slo, ok := strings.Cut(variant, " ")
	if cut < 0 || !ok {
		return cell{}, fmt.Errorf("%s: variant %q is no cell of the paper; want SYSTEM SLO in a scenario MODEL-DATASET", scenario, variant)
	}
	return cell{plainName(scenario[:cut]), scenario[cut+1:], slo, system}, nil
}
