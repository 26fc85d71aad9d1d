// Package cmd is the command line. Each verb has a file: it parses, calls a library
// and prints. [Main] is all that the main package needs.
//
// Results go to standard output and everything else to standard error, so that
// --json can be piped. The exit status is 0 if all went well, 1 after a failure
// such as a full disk, 2 if what the user gave makes no sense, and 130 after an
// interrupt.
package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"orrery/internal/names"
	"orrery/scenarios"
)

// Exit statuses.
const (
	exitOK          = 0
	exitFailure     = 1
	exitBadInput    = 2
	exitInterrupted = 130 // 128 + SIGINT, as shells have it
)

// Main runs the program with the process's arguments and returns its exit status.
func Main() int {
	ctx, stop := interruptible(os.Stderr)
	defer stop()
	a := &app{out: os.Stdout, err: os.Stderr}
	root := a.root()
	root.SetArgs(os.Args[1:])
	return a.status(root.ExecuteContext(ctx))
}

// app is where a command writes.
type app struct {
	out, err io.Writer
	quiet    bool // no progress and no messages, only results and errors
}

// note tells the user something that is no result.
func (a *app) note(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.err, format+"\n", args...)
	}
}

// errInterrupted ends a command that has kept what it had, errNothing one that had
// nothing yet, and errJournal one that can go on.
var (
	errInterrupted = errors.New("interrupted; what was finished is kept, marked partial")
	errNothing     = errors.New("interrupted before anything was finished; nothing is kept")
	errJournal     = errors.New("interrupted; there are no results yet, and what was tried is in the journal")
)

// badInput is an error of the user's.
type badInput struct{ error }

func (b badInput) Unwrap() error { return b.error }

// inputErrorf returns an error that exits with 2.
func inputErrorf(format string, args ...any) error { return badInput{fmt.Errorf(format, args...)} }

// status prints an error in one line and returns the exit status for it.
func (a *app) status(err error) int {
	var scenario *scenarios.Error
	var bad badInput
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errInterrupted), errors.Is(err, errNothing), errors.Is(err, errJournal):
		fmt.Fprintln(a.err, "orrery:", err)
		return exitInterrupted
	case errors.As(err, &scenario), errors.As(err, &bad):
		fmt.Fprintln(a.err, "orrery:", err)
		return exitBadInput
	default:
		fmt.Fprintln(a.err, "orrery:", err)
		return exitFailure
	}
}

// interruptible returns a context that ends with the first SIGINT or SIGTERM. The
// second one ends the process at once, as it does by default.
func interruptible(w io.Writer) (context.Context, func()) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	forget := context.AfterFunc(ctx, func() {
		stop()
		fmt.Fprintln(w, "\norrery: stopping, and keeping what is finished; once more to quit at once")
	})
	return ctx, func() {
		forget()
		stop()
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "orrery",
		Short: "Simulate GPU workloads: what would this traffic do on that hardware, under which policy?",
		Long: `Orrery is a discrete-event simulator of GPU workloads, calibrated against real
runs. A scenario file says what is served, on what, to whom; start with

  orrery run quickstart`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
	}
	verbs := []*cobra.Command{
		a.runCmd(), a.compareCmd(), a.sweepCmd(), a.workerCmd(), a.capacityCmd(), a.fleetCmd(), a.planCmd(),
		a.jobsCmd(), a.budgetCmd(), a.schedulesCmd(), a.learnCmd(), a.posttrainCmd(),
		a.robotsCmd(), a.refineCmd(), a.searchCmd(), a.frontierCmd(), a.paperCmd(), a.memoryCmd(), a.costCmd(),
		a.calibrateCmd(), a.validateCmd(),
		a.replayCmd(),
		a.listCmd(), a.completionCmd(), a.versionCmd(),
	}
	root.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		var known []string
		for _, v := range verbs {
			known = append(known, v.Name())
		}
		return badInput{names.Unknown("command", args[0], known)}
	}
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return inputErrorf("%w; see %s --help", err, c.CommandPath())
	})
	root.PersistentFlags().BoolVarP(&a.quiet, "quiet", "q", false, "no progress and no messages, only results and errors")
	root.CompletionOptions.DisableDefaultCmd = true // ours has an example
	root.AddCommand(verbs...)
	return root
}

// scenarioArgs checks that a command got from least to most scenarios (no limit if most is 0).
func scenarioArgs(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch n := len(args); {
		case n < least:
			return inputErrorf("which scenario? Want a file or a name, such as %s quickstart; see orrery list scenarios", c.CommandPath())
		case most > 0 && n > most:
			return inputErrorf("%d scenarios; want %d", n, most)
		}
		return nil
	}
}

// completeScenarios offers the shipped scenarios, and files.
func completeScenarios(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return scenarios.Names(), cobra.ShellCompDirectiveDefault
}
