package cmd

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"orrery/hwmodel"
	"orrery/internal/names"
	"orrery/report"
	"orrery/workloads/diffusion"
	"orrery/workloads/posttrain"
)

type posttrainFlags struct {
	gpu, framework string
	rounds         int
	out            string
	force          bool
	json           bool
}

// posttrainAnswer is what posttrain writes and, with --json, prints.
type posttrainAnswer struct {
	Recipe    string                `json:"recipe"`
	What      string                `json:"what"`
	GPU       string                `json:"gpu"`
	Devices   int                   `json:"devices"`
	GPUHours  float64               `json:"gpu_hours"`
	FLOPs     float64               `json:"flops"`
	Phases    []posttrainPhase      `json:"phases"`
	Memory    []posttrainMemory     `json:"memory"`
	Idle      float64               `json:"idle_share"` // at barriers, in the rounds of the timeline
	Published []posttrain.Published `json:"published"`
	Yields    string                `json:"yields,omitempty"`
	Derived   bool                  `json:"derived"`
	spans     []posttrain.Span
}

type posttrainPhase struct {
	Name     string          `json:"name"`
	Repeat   float64         `json:"repeat"`
	GPUHours float64         `json:"gpu_hours"`
	Calls    []posttrainCall `json:"calls"`
}

type posttrainCall struct {
	Role    string  `json:"role"`
	Network string  `json:"network"`
	Samples float64 `json:"samples"` // in one repetition
	Work    float64 `json:"forward_passes"`
	Batch   int     `json:"batch"`
	SampleS float64 `json:"sample_s"`
	Share   float64 `json:"peak_share"`
	Hours   float64 `json:"gpu_hours"`
}

type posttrainMemory struct {
	Shards int     `json:"shards"`
	GB     float64 `json:"gb"`
	Fits   bool    `json:"fits"`
}

func (a *app) posttrainCmd() *cobra.Command {
	var f posttrainFlags
	c := &cobra.Command{
		Use:   "posttrain RECIPE",
		Short: "Say what post-training of a diffusion model costs, phase by phase",
		Long: `Posttrain prints a recipe of preference optimisation or distillation as a job graph: its
phases, the calls of networks in one repetition of each, GPU-hours from the kernels at the
recipe's own micro-batch, what a device keeps in memory, and what was published beside. The
folder of results has a timeline of some rounds for ui.perfetto.dev. Recipes are
` + strings.Join(posttrain.Names(), ", ") + `.`,
		Example: `  orrery posttrain spo-sdxl
  orrery posttrain dpo-sdxl --gpu h100-sxm-80gb`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return inputErrorf("%d recipes; want one of %s", len(args), strings.Join(posttrain.Names(), ", "))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.posttrain(args[0], &f) },
	}
	fs := c.Flags()
	fs.StringVar(&f.gpu, "gpu", "", "device (default: the one it was published on)")
	fs.StringVar(&f.framework, "framework", "diffusers", "framework that runs it: "+strings.Join(hwmodel.Frameworks(), ", "))
	fs.IntVar(&f.rounds, "rounds", 3, "rounds of the timeline")
	fs.StringVarP(&f.out, "out", "o", "", "folder for the results (default: results/TIME-RUN)")
	fs.BoolVar(&f.force, "force", false, "replace the results that are in the folder")
	fs.BoolVar(&f.json, "json", false, "print JSON on standard output")
	return c
}

func (a *app) posttrain(name string, f *posttrainFlags) error {
	if f.rounds < 1 || f.rounds > 1000 {
		return inputErrorf("--rounds %d; want 1 to 1000", f.rounds)
	}
	answer, err := newPosttrain(name, f)
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
	trace, err := traceEvents(answer.spans)
	if err != nil {
		return err
	}
	text := answer.text()
	folder.Write(report.ResultFile, data)
	folder.Write("table.txt", []byte(text))
	folder.Write("timeline.json", trace)
	if err := folder.Commit(); err != nil {
		return err
	}
	return a.show(answer, text, f.json, folder.Path())
}

func newPosttrain(name string, f *posttrainFlags) (*posttrainAnswer, error) {
	r, err := posttrain.Load(name)
	if err != nil {
		return nil, badInput{err}
	}
	gpu := f.gpu
	if gpu == "" {
		gpu = r.Device
	}
	p, err := hwmodel.Load(gpu)
	if err != nil {
		return nil, badInput{names.Unknown("device", gpu, hwmodel.Names())}
	}
	framework, err := hwmodel.LoadFramework(f.framework)
	if err != nil {
		return nil, badInput{err}
	}
	q, err := diffusion.NewPricer(p, framework)
	if err != nil {
		return nil, badInput{err}
	}
	cost, err := r.Price(q, &p.Device)
	if err != nil {
		return nil, badInput{err}
	}
	x := &posttrainAnswer{Recipe: r.Name, What: r.What, GPU: gpu, Devices: r.Devices, GPUHours: cost.GPUHours, FLOPs: cost.FLOPs, Published: r.Published, Yields: r.Yields, Derived: cost.Derived}
	for i := range cost.Phases {
		c := &cost.Phases[i]
		phase := posttrainPhase{Name: c.Name, Repeat: r.Phases[i].Repeat, GPUHours: c.GPUHours}
		for _, k := range c.Calls {
			phase.Calls = append(phase.Calls, posttrainCall{k.Role, k.Network, k.Times, k.Way.Forwards(), k.Batch, k.Seconds, k.Share, k.Hours})
		}
		x.Phases = append(x.Phases, phase)
	}
	for _, shards := range []int{1, 4, 8} {
		m, err := r.Memory(shards)
		if err != nil {
			return nil, badInput{err}
		}
		x.Memory = append(x.Memory, posttrainMemory{shards, m.Total / 1e9, m.Total <= float64(p.Device.Memory)})
	}
	x.spans = r.Timeline(cost, f.rounds, 1)
	x.Idle = posttrain.Idle(x.spans)
	return x, nil
}

// text returns what is printed.
func (x *posttrainAnswer) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, on %d x %s\n\n", x.Recipe, x.What, x.Devices, x.GPU)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "phase\ttimes\tcalls\tnetwork\tsamples\tbatch\ta sample\tof the peak\tGPU-hours\t")
	for _, p := range x.Phases {
		fmt.Fprintf(t, "%s\t%.4g\t\t\t\t\t\t\t%.4g\t\n", p.Name, p.Repeat, p.GPUHours)
		for _, c := range p.Calls {
			fmt.Fprintf(t, "\t\t%s\t%s\t%.4g\t%d\t%s\t%.0f %%\t%.4g\t\n", c.Role, c.Network, c.Samples, c.Batch, millis(report.Number(c.SampleS)), 100*c.Share, c.Hours)
		}
	}
	t.Flush()
	fmt.Fprintf(&b, "\nin all   %.4g GPU-hours, %.3g EFLOP; devices wait at barriers for %.1f %% of their time\n", x.GPUHours, x.FLOPs/1e18, 100*x.Idle)
	for _, p := range x.Published {
		fmt.Fprintf(&b, "published %g GPU-hours: %s (%s)\n", p.GPUHours, p.Source, p.Assumptions)
	}
	for _, m := range x.Memory {
		verdict := "does not fit"
		if m.Fits {
			verdict = "fits"
		}
		fmt.Fprintf(&b, "memory   %.1f GB a device over %d: %s\n", m.GB, m.Shards, verdict)
	}
	if x.Yields != "" {
		fmt.Fprintf(&b, "yields   pipeline %s\n", x.Yields)
	}
	if x.Derived {
		fmt.Fprintf(&b, "! times on %s are derived from other boards\n", x.GPU)
	}
	return b.String()
}

// traceEvents returns spans as trace events that Perfetto reads, one row a device.
func traceEvents(spans []posttrain.Span) ([]byte, error) {
	type event struct {
		Name     string  `json:"name"`
		Phase    string  `json:"ph"`
		Micros   float64 `json:"ts"`
		Duration float64 `json:"dur"`
		Process  int     `json:"pid"`
		Thread   int     `json:"tid"`
	}
	events := make([]event, 0, len(spans))
	for _, s := range spans {
		name := s.Phase
		if name == "" {
			name = "idle at a barrier"
		}
		events = append(events, event{name, "X", float64(s.From) / 1e3, float64(s.To-s.From) / 1e3, 1, s.Device})
	}
	return json.Marshal(map[string]any{"traceEvents": events})
}
