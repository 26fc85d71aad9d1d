package cmd

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"orrery/scenarios"
)

func (a *app) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  orrery version",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(a.out, "orrery %s %s %s/%s\n", scenarios.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return inputErrorf("%s takes no arguments, but there is %q", c.CommandPath(), args[0])
	}
	return nil
}
