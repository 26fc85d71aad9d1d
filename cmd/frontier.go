package cmd

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"orrery/hwmodel"
	"orrery/plan"
	"orrery/report"
	"orrery/report/chart"
	"orrery/workloads/diffusion"
)

type frontierFlags struct {
	gpus      []string
	framework string
	metric    string
	batch     int
	out       string
	force     bool
	json      bool
}

// frontierAnswer is what frontier writes and, with --json, prints.
type frontierAnswer struct {
	Pipelines []string        `json:"pipelines"`
	Metric    string          `json:"metric"`
	Framework string          `json:"framework"`
	GPUs      []gpuFrontier   `json:"gpus"`
	Sources   []string        `json:"sources"`
	Matches   []frontierMatch `json:"matches"`
	lower     bool
}

type gpuFrontier struct {
	GPU    string          `json:"gpu"`
	Points []frontierPoint `json:"points"`
}

type frontierPoint struct {
	Pipeline string  `json:"pipeline"`
	Sampler  string  `json:"sampler"`
	NFE      int     `json:"nfe"`
	Seconds  float64 `json:"seconds"`
	Value    float64 `json:"value"`
	Frontier bool    `json:"frontier"`
}

// frontierMatch says what another sampler takes for the quality of a searched one.
type frontierMatch struct {
	Sampler string  `json:"sampler"`
	NFE     int     `json:"nfe"`
	Other   string  `json:"other"`
	Takes   int     `json:"takes_nfe"`
	Speedup float64 `json:"speedup"`
}

// lowerIsBetter are the metrics of distance.
var lowerIsBetter = []string{"FID", "FVD", "LPIPS"}

func (a *app) frontierCmd() *cobra.Command {
	var f frontierFlags
	c := &cobra.Command{
		Use:   "frontier PIPELINE...",
		Short: "Say which steps and samplers give the best published quality for their time",
		Long: `Frontier prices every operating point of the pipelines whose quality was published, by one
metric, on one GPU or several, and marks those that no other beats in time and quality. Where
there are searched schedules it says what others take for the same quality. Qualities are the
sources' own and are not interpolated; those of different sources are not compared.`,
		Example: `  orrery frontier sd14 --gpu rtx-2080-ti-11gb,a100-sxm-80gb
  orrery frontier sdxl-hyper-sd sdxl --metric "CLIP score"`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return inputErrorf("no pipelines; want one or more, such as %s sd14", c.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.frontier(args, &f) },
	}
	fs := c.Flags()
	fs.StringSliceVar(&f.gpus, "gpu", []string{"a100-sxm-80gb"}, "devices to price the runs on")
	fs.StringVar(&f.framework, "framework", "diffusers", "framework that runs them: "+strings.Join(hwmodel.Frameworks(), ", "))
	fs.StringVar(&f.metric, "metric", "FID", "metric of quality")
	fs.IntVar(&f.batch, "batch", 1, "images at a time")
	fs.StringVarP(&f.out, "out", "o", "", "folder for the results (default: results/TIME-RUN)")
	fs.BoolVar(&f.force, "force", false, "replace the results that are in the folder")
	fs.BoolVar(&f.json, "json", false, "print JSON on standard output")
	return c
}

func (a *app) frontier(pipelines []string, f *frontierFlags) error {
	answer, err := newFrontier(pipelines, f)
	if err != nil {
		return err
	}
	path := f.out
	if path == "" {
		path = "results/" + report.FolderName(time.Now(), uuid.NewString())
	}
	folder, err := createFolder(path, f.force)
	if err != nil {
		return err
	}
	defer folder.Abort()
	data, err := encode(answer)
	if err != nil {
		return err
	}
	text := answer.text()
	folder.Write(report.ResultFile, data)
	folder.Write("table.txt", []byte(text))
	for _, p := range answer.plots() {
		folder.Plot(p)
	}
	if err := folder.Commit(); err != nil {
		return err
	}
	return a.show(answer, text, f.json, folder.Path())
}

// newFrontier prices what was published.
func newFrontier(pipelines []string, f *frontierFlags) (*frontierAnswer, error) {
	x := &frontierAnswer{Pipelines: pipelines, Metric: f.metric, Framework: f.framework, lower: slices.Contains(lowerIsBetter, f.metric), Matches: []frontierMatch{}}
	if f.batch < 1 {
		return nil, inputErrorf("--batch %d; want 1 or more", f.batch)
	}
	for _, gpu := range f.gpus {
		g := gpuFrontier{GPU: gpu, Points: []frontierPoint{}}
		for _, name := range pipelines {
			points, err := x.pipeline(name, gpu, f)
			if err != nil {
				return nil, err
			}
			g.Points = append(g.Points, points...)
		}
		if len(g.Points) == 0 {
			return nil, inputErrorf("no %s of %s was published; metrics are %s", f.metric, strings.Join(pipelines, ", "), strings.Join(metricsOf(pipelines), ", "))
		}
		g.mark(x.lower)
		x.GPUs = append(x.GPUs, g)
	}
	x.match()
	return x, nil
}

// metricsOf returns the metrics that were published of pipelines.
func metricsOf(pipelines []string) []string {
	var out []string
	for _, q := range diffusion.Qualities() {
		if slices.Contains(pipelines, q.Pipeline) && !slices.Contains(out, q.Metric) {
			out = append(out, q.Metric)
		}
	}
	slices.Sort(out)
	if len(out) == 0 {
		out = []string{"unknown"}
	}
	return out
}

// pipeline prices the operating points of a pipeline on a GPU.
func (x *frontierAnswer) pipeline(name, gpu string, f *frontierFlags) ([]frontierPoint, error) {
	p, err := diffusion.LoadPipeline(name)
	if err != nil {
		return nil, badInput{err}
	}
	var out []frontierPoint
	for _, q := range diffusion.Qualities() {
		if q.Pipeline != name || q.Metric != f.metric {
			continue
		}
		sampler := q.Method
		if sampler == "any" {
			sampler = p.Job().Sampler
		}
		s, err := diffusion.LoadSampler(sampler)
		if err != nil {
			continue // a method that saves time, which is no sampler
		}
		j := p.Job()
		j.Sampler, j.Steps, j.Passes, j.Batch = sampler, q.NFE, q.Passes, f.batch
		steps, err := s.Steps(q.NFE)
		if err != nil || diffusion.Evaluations(steps) != q.NFE || j.Validate() != nil {
			continue
		}
		cost, err := price(j, gpu, f.framework)
		if err != nil {
			return nil, err
		}
		out = append(out, frontierPoint{name, q.Method, q.NFE, cost.Seconds / float64(f.batch), q.Value, false})
		if !slices.Contains(x.Sources, q.Source) {
			x.Sources = append(x.Sources, q.Source)
		}
	}
	return out, nil
}

func (p *frontierPoint) point() plan.Point {
	return plan.Point{Name: p.Pipeline + " " + p.Sampler, NFE: p.NFE, Seconds: p.Seconds, Value: p.Value}
}

// mark sorts the points and marks the frontier.
func (g *gpuFrontier) mark(lower bool) {
	points := make([]plan.Point, len(g.Points))
	for i := range g.Points {
		points[i] = g.Points[i].point()
	}
	sorted, best := plan.Frontier(points, lower)
	for i, p := range sorted {
		pipeline, sampler, _ := strings.Cut(p.Name, " ")
		g.Points[i] = frontierPoint{pipeline, sampler, p.NFE, p.Seconds, p.Value, best[i]}
	}
}

// searched is the sampler that stands for searched schedules.
const searched = "usf"

// match says what fixed samplers take for the quality of searched schedules, on the first
// GPU.
func (x *frontierAnswer) match() {
	var all []plan.Point
	var others []string
	g := &x.GPUs[0]
	for i := range g.Points {
		p := g.Points[i].point()
		all = append(all, p)
		if g.Points[i].Sampler != searched && !slices.Contains(others, p.Name) {
			others = append(others, p.Name)
		}
	}
	slices.Sort(others)
	for i := range g.Points {
		if g.Points[i].Sampler != searched {
			continue
		}
		p := all[i]
		for _, other := range others {
			if m, ok := plan.Match(p, all, other, x.lower); ok {
				x.Matches = append(x.Matches, frontierMatch{p.Name, p.NFE, other, m.NFE, m.Seconds / p.Seconds})
			}
		}
	}
}

// text returns what is printed.
func (x *frontierAnswer) text() string {
	var b strings.Builder
	better := "higher is better"
	if x.lower {
		better = "lower is better"
	}
	fmt.Fprintf(&b, "%s: %s (%s) over time, under %s\n", strings.Join(x.Pipelines, ", "), x.Metric, better, x.Framework)
	for _, g := range x.GPUs {
		fmt.Fprintf(&b, "\n%s\n", g.GPU)
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintf(t, "\tpipeline\tsampler\tNFE\timage\t%s\t\n", x.Metric)
		for _, p := range g.Points {
			mark := ""
			if p.Frontier {
				mark = "*"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%.4g\t\n", mark, p.Pipeline, p.Sampler, p.NFE, millis(report.Number(p.Seconds)), p.Value)
		}
		t.Flush()
	}
	b.WriteString("\n* none is both quicker and better\n")
	for _, m := range x.Matches {
		fmt.Fprintf(&b, "%s at %d evaluations is as good as %s at %d: %.1f times fewer, %.1f times as quick\n", m.Sampler, m.NFE, m.Other, m.Takes, float64(m.Takes)/float64(m.NFE), m.Speedup)
	}
	for _, s := range x.Sources {
		fmt.Fprintf(&b, "- published by %s\n", s)
	}
	return b.String()
}

// plots draws the frontier of each GPU.
func (x *frontierAnswer) plots() []report.Plot {
	var out []report.Plot
	for _, g := range x.GPUs {
		l := chart.Lines{Title: "Quality over time", Subtitle: strings.Join(x.Pipelines, ", ") + " on " + g.GPU, X: chart.Axis{Label: "time of an image", Unit: chart.Seconds}, Y: chart.Axis{Label: x.Metric}}
		at := map[string]int{}
		for _, p := range g.Points {
			name := p.Pipeline + " " + p.Sampler
			i, ok := at[name]
			if !ok {
				i = len(l.Series)
				at[name] = i
				l.Series = append(l.Series, chart.Series{Name: name, Points: true})
			}
			l.Series[i].X = append(l.Series[i].X, p.Seconds)
			l.Series[i].Y = append(l.Series[i].Y, p.Value)
		}
		out = append(out, report.Plot{Name: "frontier-" + g.GPU, Chart: l})
	}
	return out
}
