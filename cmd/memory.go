package cmd

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"orrery/hwmodel"
	"orrery/internal/names"
	"orrery/report"
	"orrery/workloads/diffusion"
)

type memoryFlags struct {
	jobFlags
	gpus    []string
	outside float64 // GiB
	out     string
	force   bool
	json    bool
}

func (a *app) memoryCmd() *cobra.Command {
	var f memoryFlags
	c := &cobra.Command{
		Use:   "memory PIPELINE",
		Short: "Say what an image or video pipeline holds on a GPU, and which cards run it",
		Long: `Memory runs a pipeline's operators through an emulation of PyTorch's caching
allocator, and prints for every stage what is live, allocated and reserved at its peak
and which operator holds it. For every board it then says whether the run has room for all
that is cached, completes only as cached blocks are given back, or does not run, and the
nearest setting that would. The folder of results has plots of memory over operators.`,
		Example: `  orrery memory sd15 --batch 4
  orrery memory animatediff --size 1024x576 --gpu rtx-2080-ti-11gb
  orrery memory svd-xt --decode-at-once 1 --json | jq .smallest_card_bytes`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return inputErrorf("%d pipelines; want one, such as %s sd15; see orrery list pipelines", len(args), c.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.memory(args[0], &f) },
	}
	f.add(c)
	fs := c.Flags()
	fs.StringSliceVar(&f.gpus, "gpu", []string{"all"}, "boards to ask about, or all")
	fs.Float64Var(&f.outside, "outside", float64(diffusion.Outside)/(1<<30), "GiB that the process holds beside the allocator")
	fs.StringVarP(&f.out, "out", "o", "", "folder for the results (default: results/TIME-RUN)")
	fs.BoolVar(&f.force, "force", false, "replace the results that are in the folder")
	fs.BoolVar(&f.json, "json", false, "print JSON on standard output")
	return c
}

func (a *app) memory(pipeline string, f *memoryFlags) error {
	j, err := f.job(pipeline)
	if err != nil {
		return err
	}
	if !(f.outside >= 0 && f.outside < 1024) {
		return inputErrorf("--outside %g; want GiB, 0 or more", f.outside)
	}
	devices, err := boards(f.gpus)
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
	m, err := jobMemory(j, devices, int64(f.outside*(1<<30)))
	if err != nil {
		return badInput{err}
	}
	data, err := encode(m)
	if err != nil {
		return err
	}
	folder.Write(report.ResultFile, data)
	for _, p := range m.Plots() {
		folder.Plot(p)
	}
	if err := folder.Commit(); err != nil {
		return err
	}
	if f.json {
		_, err = a.out.Write(data)
		a.note("results in %s", folder.Path())
		return err
	}
	_, err = fmt.Fprintf(a.out, "%s\nresults in %s\n", m.Text(), folder.Path())
	return err
}

// jobMemory follows a job's memory without a limit and on every device.
func jobMemory(j *diffusion.Job, devices []*hwmodel.Device, outside int64) (*report.Memory, error) {
	need, err := j.Footprint()
	if err != nil {
		return nil, err
	}
	free, err := need.Follow(diffusion.MemoryOptions{Outside: outside})
	if err != nil {
		return nil, err
	}
	on := need.Boards(devices, free)
	ladder := j.Ladder()
	for i := range on {
		if on[i].Fit == diffusion.DoesNotRun {
			on[i].Instead = ladder.Nearest(on[i].Memory, outside)
		}
	}
	return report.NewMemory(j.Pipeline.Name, describeJob(j), free, need.Smallest(free), on), nil
}

// boards returns the devices of the given names, or all.
func boards(wanted []string) ([]*hwmodel.Device, error) {
	switch {
	case len(wanted) == 0:
		return nil, inputErrorf("--gpu names no board; want all, or some of %s", strings.Join(hwmodel.Names(), ", "))
	case len(wanted) == 1 && wanted[0] == "all":
		wanted = hwmodel.Names()
	}
	var devices []*hwmodel.Device
	for _, name := range wanted {
		p, err := hwmodel.Load(name)
		if err != nil {
			return nil, badInput{names.Unknown("device", name, hwmodel.Names())}
		}
		devices = append(devices, &p.Device)
	}
	return devices, nil
}
