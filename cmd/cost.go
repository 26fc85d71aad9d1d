package cmd

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"orrery/hwmodel"
	"orrery/internal/names"
	"orrery/report"
	"orrery/workloads/diffusion"
)

type costFlags struct {
	jobFlags
	gpu, framework string
	json           bool
}

func (a *app) costCmd() *cobra.Command {
	var f costFlags
	c := &cobra.Command{
		Use:   "cost PIPELINE",
		Short: "Say what a run of an image or video pipeline asks of a GPU, stage by stage",
		Long: `Cost prints what one run of a pipeline does, stage by stage: calls of networks, kernels,
multiply-adds, bytes moved; and the quality that was published at this setting, if any. On a GPU
it prints the time of each: that of the kernels, that of the host's launches, which run ahead of
them, and which of the two a stage waits for.`,
		Example: `  orrery cost sdxl --steps 25
  orrery cost sdxl-hyper-sd --steps 1 --gpu a100-sxm-80gb
  orrery cost sd21 --steps 50 --method deepcache:3`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return inputErrorf("%d pipelines; want one, such as %s sd15; see orrery list pipelines", len(args), c.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.cost(args[0], &f) },
	}
	f.add(c)
	fs := c.Flags()
	fs.StringVar(&f.gpu, "gpu", "", "device to price the run on")
	fs.StringVar(&f.framework, "framework", "diffusers", "framework that runs it: "+strings.Join(hwmodel.Frameworks(), ", "))
	fs.BoolVar(&f.json, "json", false, "print JSON on standard output")
	return c
}

func (a *app) cost(pipeline string, f *costFlags) error {
	j, err := f.job(pipeline)
	if err != nil {
		return err
	}
	stages, err := j.Stages()
	if err != nil {
		return badInput{err}
	}
	quality, err := j.Quality()
	if err != nil {
		return badInput{err}
	}
	w := report.NewWork(j.Pipeline.Name, describeJob(j), stages, quality)
	if f.gpu != "" {
		cost, err := price(j, f.gpu, f.framework)
		if err != nil {
			return err
		}
		w.Price(f.gpu, f.framework, cost)
	}
	if f.json {
		data, err := encode(w)
		if err != nil {
			return err
		}
		_, err = a.out.Write(data)
		return err
	}
	_, err = fmt.Fprint(a.out, w.Text())
	return err
}

// price returns the time of a job on a device, as a framework runs it.
func price(j *diffusion.Job, gpu, framework string) (*diffusion.JobCost, error) {
	p, err := hwmodel.Load(gpu)
	if err != nil {
		return nil, badInput{names.Unknown("device", gpu, hwmodel.Names())}
	}
	f, err := hwmodel.LoadFramework(framework)
	if err != nil {
		return nil, badInput{err}
	}
	q, err := diffusion.NewPricer(p, f)
	if err != nil {
		return nil, badInput{err}
	}
	cost, err := q.Job(j)
	if err != nil {
		return nil, badInput{err}
	}
	return cost, nil
}
