package diffusion

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"orrery/internal/names"
)

// methodKind is a method that has a name.
type methodKind struct {
	name, what string
	args       int // numbers after the colon: at least one, at most so many
	make       func(p *Pipeline, args []float64) (Rewrite, error)
}

// methods is what the text of a method may start with.
var methods = []methodKind{
	{"deepcache", "deepcache:N or N,B: a whole UNet every N steps, its shallow part (branch B) between", 2, func(_ *Pipeline, a []float64) (Rewrite, error) {
		d := DeepCache{Interval: int(a[0])}
		if len(a) > 1 {
			d.Branch = int(a[1])
		}
		return d, nil
	}},
	{"tgate", "tgate:N: guidance and cross-attention for N steps only", 1, func(_ *Pipeline, a []float64) (Rewrite, error) {
		return TGate{Gate: int(a[0])}, nil
	}},
	{"tome", "tome:S: a share S of the tokens at full size merged for self-attention", 1, func(_ *Pipeline, a []float64) (Rewrite, error) {
		return TokenMerge{Ratio: a[0]}, nil
	}},
	{"fora", "fora:N: a whole transformer every N steps, its layers' kept answers between", 1, func(_ *Pipeline, a []float64) (Rewrite, error) {
		return Reuse{Method: "fora", Interval: int(a[0]), Layers: true}, nil
	}},
	{"toca", "toca:N or N,S: as fora, but for a share S of the tokens (0.1)", 2, func(_ *Pipeline, a []float64) (Rewrite, error) {
		r := Reuse{Method: "toca", Interval: int(a[0]), Layers: true, Tokens: 0.1}
		if len(a) > 1 {
			r.Tokens = a[1]
		}
		return r, nil
	}},
	{"skip", "skip:S: a share S of the steps takes over what the transformer answered before", 1, func(_ *Pipeline, a []float64) (Rewrite, error) {
		return Reuse{Method: "skip", Skip: a[0]}, nil
	}},
	{"teacache", "teacache:T: as skip, with the share that was measured at threshold T", 1, func(p *Pipeline, a []float64) (Rewrite, error) {
		share, err := skipShare("teacache", p.Name, a[0])
		return Reuse{Method: "teacache", Skip: share}, err
	}},
	{"fbcache", "fbcache:T: as teacache, deciding by the first layer (first-block cache)", 1, func(p *Pipeline, a []float64) (Rewrite, error) {
		share, err := skipShare("fbcache", p.Name, a[0])
		return Reuse{Method: "fbcache", Skip: share, First: true}, err
	}},
	{"slicer", "slicer:S,T: every operator in S slices of frames, or T of positions (Streamlined Inference)", 2, func(_ *Pipeline, a []float64) (Rewrite, error) {
		return streamlined(a, false, false)
	}},
	{"grouping", "grouping:S,T: as slicer, each slice through a whole block of operators", 2, func(_ *Pipeline, a []float64) (Rewrite, error) {
		return streamlined(a, true, false)
	}},
	{"streamlined", "streamlined:S,T: as grouping, with slices joined while the next ones compute", 2, func(_ *Pipeline, a []float64) (Rewrite, error) {
		return streamlined(a, true, true)
	}},
	{"rehash", "rehash:N,S: N of S steps run whole, evenly spread, the others from what their temporal layers kept; or rehash:T: those that steps as alike as the paper describes ask for at threshold T; or rehash:FILE,T: those that a matrix of similarities in a CSV file and a threshold ask for", 2, func(_ *Pipeline, a []float64) (Rewrite, error) {
		if len(a) == 1 && a[0] > 0 && a[0] < 1 {
			return Rehash{Threshold: a[0], text: fmt.Sprintf("rehash:%g", a[0])}, nil
		}
		if len(a) != 2 || a[0] < 1 || a[0] > a[1] {
			return nil, fmt.Errorf("want whole steps and steps, such as rehash:13,25, or a threshold below 1, such as rehash:0.98")
		}
		return Rehash{Keys: EvenKeys(int(a[0]), int(a[1])), text: fmt.Sprintf("rehash:%g,%g", a[0], a[1])}, nil
	}},
	{"clips", "clips:F: naive slicing, clips of F frames one after the other", 1, func(p *Pipeline, a []float64) (Rewrite, error) {
		return Clips{Frames: int(a[0]), Overlap: len(p.Image) > 0}, nil
	}},
}

// streamlined returns the slicer that two counts ask for.
func streamlined(a []float64, grouping, pipeline bool) (Rewrite, error) {
	if len(a) != 2 || a[0] < 1 || a[1] < 1 {
		return nil, fmt.Errorf("want two counts of slices, at least 1 each")
	}
	return Streamlined{Spatial: int(a[0]), Temporal: int(a[1]), Grouping: grouping, Pipeline: pipeline}, nil
}

// similar returns the method that a file of similarities and a threshold ask for, and false
// where the text has none.
func similar(text, rest string) (Rewrite, bool, error) {
	file := MethodFile(text)
	if file == "" {
		return nil, false, nil
	}
	threshold, err := strconv.ParseFloat(strings.TrimSpace(rest[len(file)+1:]), 64)
	if err != nil || !(threshold > 0 && threshold <= 1) {
		return nil, true, fmt.Errorf("method %q: want a file and a threshold above 0 and up to 1", text)
	}
	m, err := ReadSimilarity(file)
	if err != nil {
		return nil, true, fmt.Errorf("method %q: %w", text, err)
	}
	return Rehash{Keys: KeySteps(m, threshold), text: text}, true, nil
}

// MethodFile returns the file that a method such as rehash:similar.csv,0.98 reads, empty
// for one that reads none.
func MethodFile(text string) string {
	rest, ok := strings.CutPrefix(text, "rehash:")
	at := strings.LastIndex(rest, ",")
	if !ok || at < 0 {
		return ""
	}
	if _, err := strconv.ParseFloat(rest[:at], 64); err == nil {
		return ""
	}
	return rest[:at]
}

// Methods returns the names of the methods that [ParseMethod] reads, with what they do.
func Methods() (list [][2]string) {
	for _, m := range methods {
		list = append(list, [2]string{m.name, m.what})
	}
	return list
}

// ParseMethod reads a method such as deepcache:3 for a pipeline.
func ParseMethod(text string, p *Pipeline) (Rewrite, error) {
	name, rest, found := strings.Cut(text, ":")
	at := slices.IndexFunc(methods, func(m methodKind) bool { return m.name == name })
	if at < 0 {
		known := make([]string, len(methods))
		for i := range methods {
			known[i] = methods[i].name
		}
		return nil, names.Unknown("method", name, known)
	}
	m := &methods[at]
	if name == "rehash" {
		if r, ok, err := similar(text, rest); ok {
			return r, err
		}
	}
	var args []float64
	for _, field := range strings.Split(rest, ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(field), 64)
		if err != nil || !(v >= 0 && v <= maxSteps) {
			return nil, fmt.Errorf("method %q: want %s", text, m.what)
		}
		args = append(args, v)
	}
	if !found || len(args) > m.args {
		return nil, fmt.Errorf("method %q: want %s", text, m.what)
	}
	r, err := m.make(p, args)
	if err != nil {
		return nil, fmt.Errorf("method %q: %w", text, err)
	}
	return r, nil
}

// skips.csv has the published times of methods that skip by a threshold.
//
//go:embed skips.csv
var skipsCSV string

// skipShare returns the share of the steps that a method skipped on a pipeline at a
// threshold: that by which its published time fell. What is not a step counts as one, so
// the share is a little low.
func skipShare(method, pipeline string, threshold float64) (float64, error) {
	rows, err := csv.NewReader(strings.NewReader(skipsCSV)).ReadAll()
	if err != nil {
		panic(err) // the table is part of the program
	}
	var known []string
	for _, row := range rows[1:] {
		if row[0] != method || row[1] != pipeline {
			continue
		}
		if at, _ := strconv.ParseFloat(row[2], 64); at == threshold {
			full, _ := strconv.ParseFloat(row[3], 64)
			took, _ := strconv.ParseFloat(row[4], 64)
			return 1 - took/full, nil
		}
		known = append(known, row[2])
	}
	if known == nil {
		return 0, fmt.Errorf("nothing was published for %s; want skip:S with a share of your own", pipeline)
	}
	return 0, fmt.Errorf("nothing was published for %s at %g; want %s, or skip:S with a share of your own", pipeline, threshold, strings.Join(known, " or "))
}
