package cmd

import (
	"fmt"

	"github.com/spf13/cobra"

	"orrery/report"
)

func (a *app) costCmd() *cobra.Command {
	var f jobFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "cost PIPELINE",
		Short: "Say what a run of an image or video pipeline asks of a GPU, stage by stage",
		Long: `Cost prints what one run of a pipeline does, stage by stage: calls of networks, kernels,
multiply-adds, bytes moved; and the quality that was published at this setting, if any.`,
		Example: `  orrery cost sdxl --steps 25
  orrery cost sdxl-hyper-sd --steps 1
  orrery cost sd21 --steps 50 --method deepcache:3`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return inputErrorf("%d pipelines; want one, such as %s sd15; see orrery list pipelines", len(args), c.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.cost(args[0], &f, asJSON) },
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON on standard output")
	return c
}

func (a *app) cost(pipeline string, f *jobFlags, asJSON bool) error {
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
	if asJSON {
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
