package serving

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Line is the errors of the runs of one model by one backend on one GPU.
type Line struct {
	Model     string `json:"model"`
	Precision string `json:"precision"`
	Backend   string `json:"backend"`
	GPU       string `json:"gpu"`
	Fitted    bool   `json:"fitted"` // see [Fitted]
	Summary
}

// Report is the errors of all runs, of those that no constant saw, and line by line, with
// why the others were passed over.
type Report struct {
	All     Summary  `json:"all"`
	Fitted  Summary  `json:"fitted"`
	Unseen  Summary  `json:"unseen"`
	Lines   []Line   `json:"lines"`
	Skipped []Reason `json:"skipped"`
}

// Reason says why so many runs were not simulated.
type Reason struct {
	Text string `json:"reason"`
	Runs int    `json:"runs"`
}

// Fitted tells whether runs like w decided a constant: the host of an engine was fitted to
// dense models on H100, and the skew of experts of Qwen3-235B was chosen by its runs. All
// other runs are predicted without having been looked at by a fit.
func Fitted(w *Priced) bool {
	return w.GPU == "h100_sxm" && w.Origin == "nvidia-aic" && strings.Contains(w.Name, "Llama-3.1-8B") ||
		w.GPU == "h100_sxm" && (strings.Contains(w.Name, "Qwen3-32B") || strings.Contains(w.Name, "Qwen3-235B"))
}

// NewReport summarises simulated runs, a line for each model, precision, backend and GPU in
// that order.
func NewReport(priced []Priced, skipped []Skipped) *Report {
	type key struct{ model, precision, backend, gpu string }
	groups := map[key][]Priced{}
	var keys []key
	var fitted, unseen []Priced
	for _, p := range priced {
		k := key{p.Name[strings.LastIndexByte(p.Name, '/')+1:], precision(p.Precision), p.Backend, p.GPU}
		if groups[k] == nil {
			keys = append(keys, k)
		}
		groups[k] = append(groups[k], p)
		if Fitted(&p) {
			fitted = append(fitted, p)
		} else {
			unseen = append(unseen, p)
		}
	}
	slices.SortFunc(keys, func(a, b key) int {
		return cmp.Or(cmp.Compare(a.model, b.model), cmp.Compare(a.precision, b.precision), cmp.Compare(a.backend, b.backend), cmp.Compare(a.gpu, b.gpu))
	})
	r := &Report{All: Summarise(priced), Fitted: Summarise(fitted), Unseen: Summarise(unseen)}
	for _, k := range keys {
		r.Lines = append(r.Lines, Line{k.model, k.precision, k.backend, k.gpu, Fitted(&groups[k][0]), Summarise(groups[k])})
	}
	r.Skipped = reasons(skipped)
	return r
}

// reasons counts the runs that were passed over, most first.
func reasons(skipped []Skipped) []Reason {
	var out []Reason
	for _, s := range skipped {
		i := slices.IndexFunc(out, func(r Reason) bool { return r.Text == s.Reason })
		if i < 0 {
			i = len(out)
			out = append(out, Reason{Text: s.Reason})
		}
		out[i].Runs++
	}
	slices.SortStableFunc(out, func(a, b Reason) int { return b.Runs - a.Runs })
	return out
}

// WriteMarkdown writes the report as tables of Markdown, which read as text too.
func (r *Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| model | weights | engine | GPU | runs | TPOT median | p90 | bias | throughput median | p90 | TTFT median | bias |\n")
	b.WriteString("|---|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	row := func(model, precision, backend, gpu string, s *Summary) {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %d | %.1f %% | %.1f %% | %+.1f %% | %.1f %% | %.1f %% | %.0f %% | %+.0f %% |\n",
			model, precision, backend, gpu, s.Runs, 100*s.TPOT, 100*s.TPOT90, 100*s.TPOTBias, 100*s.Throughput, 100*s.Throughput90, 100*s.TTFT, 100*s.TTFTBias)
	}
	for i := range r.Lines {
		l := &r.Lines[i]
		model := l.Model
		if l.Fitted {
			model += " *"
		}
		row(model, l.Precision, l.Backend, l.GPU, &l.Summary)
	}
	row("**those with a star**", "", "", "", &r.Fitted)
	row("**those without**", "", "", "", &r.Unseen)
	row("**all**", "", "", "", &r.All)
	b.WriteString("\n| not simulated | runs |\n|---|--:|\n")
	for _, s := range r.Skipped {
		fmt.Fprintf(&b, "| %s | %d |\n", s.Text, s.Runs)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
