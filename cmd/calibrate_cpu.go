package cmd

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"orrery/calibrate/cpu"
	"orrery/infer"
	"orrery/workloads/llm"
)

type calibrateCPUFlags struct {
	model, out string
	options    cpu.Options
}

func (a *app) calibrateCPUCmd() *cobra.Command {
	var f calibrateCPUFlags
	o := &f.options
	c := &cobra.Command{
		Use:   "cpu",
		Short: "Measure the operators of a model on this machine's processor",
		Long: `Calibrate cpu measures, on this machine's processor, the operators that a text model
is made of and whole iterations of the model, with random weights and by the
kernels that orrery validate runs. Stop what else is running; the file notes how
far repeated medians differ.

An interrupt keeps the rounds that are finished, marked partial.`,
		Example: `  orrery calibrate cpu --quick
  orrery calibrate cpu --blas openblas --threads 2 --out my-laptop.orrery
  orrery calibrate fit cpu.orrery`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return inputErrorf("calibrate cpu takes no arguments, got %q; name the model with --model", args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return a.calibrateCPU(c.Context(), &f) },
	}
	fs := c.Flags()
	fs.StringVarP(&f.out, "out", "o", "cpu.orrery", "measurement file")
	fs.StringVar(&f.model, "model", "orrery-25m", "model whose shapes and iterations are measured, a name or a file")
	fs.StringVar(&o.BLAS, "blas", "auto", "gonum, openblas, or auto for OpenBLAS where it is installed")
	fs.IntVar(&o.Threads, "threads", 0, "threads that compute (default all processors)")
	fs.BoolVar(&o.Quick, "quick", false, "fewer shapes, about 20 seconds")
	fs.DurationVar(&o.Length, "length", 0, "about how long to measure (default 2m, with --quick 20s); 3 rounds are made however slow")
	return c
}

func (a *app) calibrateCPU(ctx context.Context, f *calibrateCPUFlags) error {
	m, err := llm.Load(f.model)
	if err == nil {
		err = runnable(m)
	}
	if err != nil {
		return badInput{err}
	}
	if f.options.Length < 0 {
		return inputErrorf("--length %v; want a duration above 0, such as 30s", f.options.Length)
	}
	o := f.options
	o.ModelName = m.Name
	o.Model = infer.Config{
		Layers: m.Layers, Hidden: m.Hidden, Heads: m.Heads, KVHeads: m.KVHeads, HeadDim: m.HeadDim, Intermediate: m.Intermediate, Vocab: m.Vocab,
	}
	bar := a.newProgress("measuring")
	o.Progress = func(done, total time.Duration) { bar.set(int64(done), int64(total)) }
	measured, err := cpu.Measure(ctx, o)
	bar.end()
	interrupted := ctx.Err() != nil
	switch {
	case interrupted && measured == nil:
		return errNothing
	case err != nil && !interrupted:
		return badInput{err}
	}
	if err := measured.Write(f.out); err != nil {
		return err
	}
	for _, x := range measured.Facts {
		fmt.Fprintf(a.out, "%-12s %s\n", x.Key, x.Value)
	}
	for _, x := range measured.Device {
		fmt.Fprintf(a.out, "%-12s %s\n", x.Key, x.Value)
	}
	fmt.Fprintf(a.out, "\nmeasurements in %s\n", f.out)
	if interrupted {
		return errInterrupted
	}
	return nil
}
