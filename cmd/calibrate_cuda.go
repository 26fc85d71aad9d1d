package cmd

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"orrery/calibrate"
	"orrery/calibrate/cuda"
	"orrery/calibrate/cuda/device"
	"orrery/calibrate/cuda/driver"
)

type calibrateCUDAFlags struct {
	out          string
	device       int
	list, dryRun bool
	options      cuda.Options
}

func (a *app) calibrateCUDACmd() *cobra.Command {
	var f calibrateCUDAFlags
	c := &cobra.Command{
		Use:   "cuda",
		Short: "Measure the operators of models on an NVIDIA GPU",
		Long: `Calibrate cuda measures, on an NVIDIA GPU, what models are made of: products of
matrices, attention, norms, element-wise kernels and convolutions, and the device's
bandwidths and launch costs. Every result is checked against a reference before it is
timed. The card's settings are left as they are.

It wants the driver and NVRTC, CUDA's run-time compiler (it comes with PyTorch and with
the CUDA toolkit); cuBLAS and cuDNN are used where they are installed. An interrupt
keeps what is finished, marked partial.`,
		Example: `  orrery calibrate cuda --quick
  orrery calibrate cuda --ops gemm,attention_decode --out my-gpu.orrery
  orrery calibrate fit cuda.orrery`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return inputErrorf("calibrate cuda takes no arguments, got %q; name operations with --ops", args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return a.calibrateCUDA(c.Context(), &f) },
	}
	fs := c.Flags()
	fs.StringVarP(&f.out, "out", "o", "cuda.orrery", "measurement file")
	fs.StringSliceVar(&f.options.Ops, "ops", nil, "operations to measure (default all; see --list)")
	fs.BoolVar(&f.options.Quick, "quick", false, "fewer shapes, a few minutes")
	fs.IntVar(&f.device, "device", 0, "which GPU, counted from 0")
	fs.BoolVar(&f.list, "list", false, "list the operations and stop")
	fs.BoolVar(&f.dryRun, "dry-run", false, "print what would be measured and stop")
	return c
}

func (a *app) calibrateCUDA(ctx context.Context, f *calibrateCUDAFlags) error {
	if f.list {
		return a.listOperations()
	}
	if err := cuda.Known(f.options.Ops); err != nil {
		return badInput{err}
	}
	gpu, err := driver.Open(f.device)
	var missing *device.Missing
	switch {
	case f.dryRun && errors.As(err, &missing):
		a.note("%v\nthis is what an A100 would be asked:", missing.What)
		return a.describeCUDA(cuda.Imagined{}, f)
	case errors.As(err, &missing):
		return badInput{err}
	case err != nil:
		return err
	}
	defer gpu.Close() // the process ends with it
	if f.dryRun {
		return a.describeCUDA(gpu, f)
	}
	return a.measureCUDA(ctx, gpu, f)
}

func (a *app) listOperations() error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, o := range cuda.Operations() {
		fmt.Fprintf(w, "%s\t%s\n", o[0], o[1])
	}
	return w.Flush()
}

func (a *app) describeCUDA(dev cuda.Target, f *calibrateCUDAFlags) error {
	lines, err := cuda.Describe(dev, &f.options)
	if err != nil {
		return badInput{err}
	}
	for _, l := range lines {
		fmt.Fprintln(a.out, l)
	}
	a.note("%d points", len(lines))
	return nil
}

func (a *app) measureCUDA(ctx context.Context, gpu *driver.GPU, f *calibrateCUDAFlags) error {
	info := gpu.Info()
	a.note("measuring %s", info.Name)
	bar := a.newProgress("measuring")
	f.options.Progress = func(done, total int) { bar.set(int64(done), int64(total)) }
	stop := gpu.Watch()
	m, err := cuda.Measure(ctx, gpu, f.options)
	bar.end()
	seen := stop()
	interrupted := ctx.Err() != nil
	switch {
	case interrupted && (m == nil || len(m.Rows) == 0 && len(m.Micro) == 0):
		return errNothing
	case err != nil && !interrupted:
		return err
	}
	facts := []calibrate.Fact{{Key: "tool", Value: "orrery calibrate cuda"}, {Key: "board", Value: info.Name}}
	for _, x := range append(info.Facts, seen...) {
		facts = append(facts, calibrate.Fact{Key: x.Name, Value: x.Value})
	}
	m.Facts = append(facts, m.Facts...)
	if err := m.Write(f.out); err != nil {
		return err
	}
	for _, x := range m.Facts {
		fmt.Fprintf(a.out, "%-14s %s\n", x.Key, x.Value)
	}
	fmt.Fprintf(a.out, "\nmeasurements in %s\n", f.out)
	if interrupted {
		return errInterrupted
	}
	return nil
}
