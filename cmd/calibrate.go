package cmd

import (
	"github.com/spf13/cobra"

	"orrery/internal/names"
)

func (a *app) calibrateCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "calibrate",
		Short: "Measure a device, fit a profile to measurements, score a profile",
		Long: `Calibrate makes the numbers behind a simulation: it measures operators on a device,
fits a profile of the device to the measurements, and says how far a profile is
off on measurements, its own or anybody's.`,
	}
	verbs := []*cobra.Command{a.calibrateCPUCmd(), a.calibrateCUDACmd(), a.calibrateFitCmd(), a.calibrateScoreCmd(), a.calibrateServingCmd(), a.calibrateShowCmd()}
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		var known []string
		for _, v := range verbs {
			known = append(known, v.Name())
		}
		return badInput{names.Unknown("command", args[0], known)}
	}
	c.Args = cobra.ArbitraryArgs
	c.AddCommand(verbs...)
	return c
}
