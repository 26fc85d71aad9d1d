package report

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"orrery/workloads/diffusion"
)

// Work is what one run of a pipeline of image or video diffusion asks of a GPU, stage by
// stage.
type Work struct {
	Pipeline    string          `json:"pipeline"`
	Setting     string          `json:"setting"` // size, frames, batch and so on, in words
	Evaluations int             `json:"evaluations"`
	Stages      []WorkStage     `json:"stages"`
	Total       WorkStage       `json:"total"`
	Quality     []QualityFigure `json:"quality"` // published; empty: unknown
}

// WorkStage is a stage's work, over all of its calls.
type WorkStage struct {
	Name    string `json:"name"`
	Calls   int    `json:"calls"`
	Kernels int    `json:"kernels"`
	MACs    int64  `json:"macs"`
	Moved   int64  `json:"moved_bytes"` // each operand of each operator once
}

// QualityFigure is a published figure of what comes out.
type QualityFigure struct {
	Metric string  `json:"metric"`
	Value  float64 `json:"value"`
	Set    string  `json:"set"`
	Source string  `json:"source"`
	Note   string  `json:"note,omitempty"`
}

// NewWork reports the stages of a job. Those of one name are joined, as where whole steps
// and shorter ones take turns.
func NewWork(pipeline, setting string, stages []diffusion.Stage, quality []diffusion.Quality) *Work {
	w := &Work{Pipeline: pipeline, Setting: setting, Total: WorkStage{Name: "run"}, Quality: []QualityFigure{}}
	at := map[string]int{}
	for i := range stages {
		s := &stages[i]
		k, ok := at[s.Name]
		if !ok {
			k = len(w.Stages)
			at[s.Name] = k
			w.Stages = append(w.Stages, WorkStage{Name: s.Name})
		}
		w.Stages[k].add(s)
		w.Total.add(s)
		if s.Phase == diffusion.Denoise {
			w.Evaluations += s.Times
		}
	}
	for _, q := range quality {
		w.Quality = append(w.Quality, QualityFigure{q.Metric, q.Value, q.Set, q.Source, q.Note})
	}
	return w
}

func (s *WorkStage) add(stage *diffusion.Stage) {
	s.Calls += stage.Times
	s.Kernels += stage.Times * stage.Graph.Kernels()
	s.MACs += int64(stage.Times) * stage.Graph.MACs()
	s.Moved += int64(stage.Times) * stage.Graph.Moved()
}

// Text returns the report as it is read on a screen.
func (w *Work) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s · %s\n\n", w.Pipeline, w.Setting)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "stage\tcalls\tkernels\tTMAC\tshare\tGB moved")
	for i := range w.Stages {
		w.row(t, &w.Stages[i])
	}
	w.row(t, &w.Total)
	t.Flush()
	fmt.Fprintln(&b)
	for _, q := range w.Quality {
		fmt.Fprintf(&b, "published: %s\n", q.text())
	}
	if len(w.Quality) == 0 {
		fmt.Fprintln(&b, "quality unknown: nothing that was published at this setting is known here")
	}
	return b.String()
}

func (w *Work) row(t *tabwriter.Writer, s *WorkStage) {
	fmt.Fprintf(t, "%s\t%d\t%d\t%.2f\t%.1f %%\t%.1f\n", s.Name, s.Calls, s.Kernels, float64(s.MACs)/1e12,
		100*float64(s.MACs)/float64(max(w.Total.MACs, 1)), float64(s.Moved)/1e9)
}

func (q *QualityFigure) text() string {
	text := fmt.Sprintf("%s %g on %s", q.Metric, q.Value, q.Set)
	if q.Note != "" {
		text += " (" + q.Note + ")"
	}
	return text + "; " + q.Source
}
