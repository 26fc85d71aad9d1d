package report

import (
	"fmt"
	"math"
	"strings"
	"text/tabwriter"

	"orrery/workloads/diffusion"
)

// Work is what one run of a pipeline of image or video diffusion asks of a GPU, stage by
// stage.
type Work struct {
	Pipeline    string          `json:"pipeline"`
	Setting     string          `json:"setting"` // size, frames, batch and so on, in words
	Device      string          `json:"device,omitempty"`
	Framework   string          `json:"framework,omitempty"`
	Evaluations int             `json:"evaluations"`
	Stages      []WorkStage     `json:"stages"`
	Total       WorkStage       `json:"total"`
	Fixed       float64         `json:"fixed_s,omitempty"` // of the host beside launches, once a run
	Band        float64         `json:"band,omitempty"`    // half-width of the 90 % band of the time's logarithm
	Derived     bool            `json:"derived,omitempty"` // no run of the framework was measured on such a device
	Quality     []QualityFigure `json:"quality"`           // published; empty: unknown
}

// WorkStage is a stage's work, over all of its calls.
type WorkStage struct {
	Name    string `json:"name"`
	Calls   int    `json:"calls"`
	Kernels int    `json:"kernels"`
	MACs    int64  `json:"macs"`
	Moved   int64  `json:"moved_bytes"` // each operand of each operator once

	// Of a run on a device, all calls together.
	Seconds float64 `json:"seconds,omitempty"`
	Busy    float64 `json:"device_s,omitempty"` // of the device's kernels
	Launch  float64 `json:"launch_s,omitempty"` // of the host's launches, which run ahead of the kernels
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

// Price adds the time that the run takes on a device, of which w has the stages.
func (w *Work) Price(device, framework string, c *diffusion.JobCost) {
	w.Device, w.Framework = device, framework
	w.Fixed, w.Band, w.Derived = c.Fixed, c.Band, c.Derived
	for i := range c.Stages {
		s := &c.Stages[i]
		for k := range w.Stages {
			if w.Stages[k].Name == s.Stage.Name {
				w.Stages[k].price(s)
			}
		}
		w.Total.price(s)
	}
	w.Total.Seconds += c.Fixed
}

func (s *WorkStage) price(c *diffusion.StageCost) {
	n := float64(c.Stage.Times)
	s.Seconds += n * c.Cost.Seconds
	s.Busy += n * c.Cost.Device
	s.Launch += n * c.Cost.Launch
}

// Text returns the report as it is read on a screen.
func (w *Work) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s · %s\n", w.Pipeline, w.Setting)
	if w.Device != "" {
		fmt.Fprintf(&b, "%s, %s\n", w.Device, w.Framework)
	}
	fmt.Fprintln(&b)
	w.table(&b)
	fmt.Fprintln(&b)
	for _, q := range w.Quality {
		fmt.Fprintf(&b, "published: %s\n", q.text())
	}
	if len(w.Quality) == 0 {
		fmt.Fprintln(&b, "quality unknown: nothing that was published at this setting is known here")
	}
	return b.String()
}

func (w *Work) table(b *strings.Builder) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	if w.Device == "" {
		fmt.Fprintln(t, "stage\tcalls\tkernels\tTMAC\tshare\tGB moved")
	} else {
		fmt.Fprintln(t, "stage\tcalls\tkernels\tTMAC\tseconds\tshare\tof kernels\tof launches\tbound by")
	}
	for i := range w.Stages {
		w.row(t, &w.Stages[i])
	}
	if w.Fixed > 0 {
		fmt.Fprintf(t, "beside launches\t\t\t\t%.3f\t%.1f %%\t\t\tthe host\n", w.Fixed, 100*w.Fixed/w.Total.Seconds)
	}
	w.row(t, &w.Total)
	t.Flush()
	if w.Device != "" {
		fmt.Fprintf(b, "\n%.2f to %.2f s in nine of ten such runs", w.Total.Seconds*math.Exp(-w.Band), w.Total.Seconds*math.Exp(w.Band))
		if w.Derived {
			fmt.Fprint(b, "; derived: no run was measured on such a device")
		}
		fmt.Fprintln(b)
	}
}

func (w *Work) row(t *tabwriter.Writer, s *WorkStage) {
	fmt.Fprintf(t, "%s\t%d\t%d\t%.2f\t", s.Name, s.Calls, s.Kernels, float64(s.MACs)/1e12)
	if w.Device == "" {
		fmt.Fprintf(t, "%.1f %%\t%.1f\n", 100*float64(s.MACs)/float64(max(w.Total.MACs, 1)), float64(s.Moved)/1e9)
		return
	}
	bound := "kernels"
	if s.Launch > s.Busy {
		bound = "launches"
	}
	fmt.Fprintf(t, "%.3f\t%.1f %%\t%.3f\t%.3f\t%s\n", s.Seconds, 100*s.Seconds/w.Total.Seconds, s.Busy, s.Launch, bound)
}

func (q *QualityFigure) text() string {
	text := fmt.Sprintf("%s %g on %s", q.Metric, q.Value, q.Set)
	if q.Note != "" {
		text += " (" + q.Note + ")"
	}
	return text + "; " + q.Source
}
