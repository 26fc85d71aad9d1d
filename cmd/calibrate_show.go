package cmd

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"orrery/calibrate"
	"orrery/hwmodel"
)

func (a *app) calibrateShowCmd() *cobra.Command {
	var sources bool
	c := &cobra.Command{
		Use:   "show PROFILE",
		Short: "Say what a profile rests on and how far it can be trusted",
		Long: `Show prints the errors that a profile states of itself: for every set of constants the
number of measurements, the errors on shapes held out of the fit, those of a
roofline with three fitted constants on the same shapes, and how far above the
prediction the 90 % band reaches. With "all" it prints a line for each operator and device.`,
		Example: `  orrery calibrate show a100-sxm-80gb
  orrery calibrate show all
  orrery calibrate show rtx-2080-ti-11gb --sources`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return inputErrorf("show wants one profile, or all")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			profiles, err := profilesNamed(args[0])
			if err != nil {
				return err
			}
			if args[0] == "all" {
				showAll(a.out, profiles)
				return nil
			}
			showProfile(a.out, profiles[0], sources)
			return nil
		},
	}
	c.Flags().BoolVar(&sources, "sources", false, "say where each set of constants comes from")
	return c
}

// showProfile prints a line for every set of constants.
func showProfile(out io.Writer, p *hwmodel.Profile, sources bool) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "operator\tconstants\trows\tMAPE\tmedian\tp90\troofline\tband")
	var notes []string
	for _, o := range calibrate.Operators() {
		for _, f := range o.Fits(p) {
			if f.Fit.Derived {
				fmt.Fprintf(w, "%s\t%s\tderived\t\t\t\t\t±%.0f %%\n", o.Name, f.Name, 100*math.Expm1(f.Fit.Band))
			} else {
				fmt.Fprintf(w, "%s\t%s\t%d\t%.1f %%\t%.1f %%\t%.1f %%\t%.1f %%\t±%.0f %%\n", o.Name, f.Name, f.Fit.Rows,
					100*f.Fit.HeldOutMean, 100*f.Fit.HeldOutMedian, 100*f.Fit.HeldOutP90, 100*f.Fit.Baseline, 100*math.Expm1(f.Fit.Band))
			}
			notes = append(notes, fmt.Sprintf("%s %s: %s", o.Name, f.Name, f.Fit.Source))
		}
	}
	w.Flush()
	if !sources {
		return
	}
	fmt.Fprintln(out)
	for _, n := range notes {
		fmt.Fprintln(out, n)
	}
}

// showAll prints a line for each operator and device that has measurements of it, its
// sets of constants weighed by their rows.
func showAll(out io.Writer, profiles []*hwmodel.Profile) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "operator\tdevice\trows\tMAPE\tmedian\tp90\troofline")
	for _, o := range calibrate.Operators() {
		for _, p := range profiles {
			s := calibrate.Stated(o, p)
			if s.Rows == 0 {
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%.1f %%\t%.1f %%\t%.1f %%\t%.1f %%\n", o.Name, p.Device.Name, s.Rows,
				100*s.HeldOutMean, 100*s.HeldOutMedian, 100*s.HeldOutP90, 100*s.Baseline)
		}
	}
	w.Flush()
}
