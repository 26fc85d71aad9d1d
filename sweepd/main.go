// Orrery-sweepd is the engine that makes sweeps durable: a Temporal server in one process,
// which keeps its state in an SQLite file. `orrery sweep` starts it as a child of its own and
// stops it at the end; for a cluster of workers it can be left running:
//
//	orrery-sweepd --db DIR/sweep.db --listen 127.0.0.1:7233
//
// It is a module of its own because a Temporal server is 450 modules: orrery itself speaks to
// one through a client only. Nothing that it serves asks who is there, so it listens on this
// machine unless told otherwise.
//
// It writes one line to standard output once it serves, `serving HOST:PORT`. The exit status is 3 if
// another process serves the file, 2 for arguments that make no sense, 1 for what else fails.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Exit statuses.
const (
	exitFailure  = 1
	exitBadInput = 2
	exitHeld     = 3
)

// patience is how long services have to end. What is under way is on the disk at any time, so
// nothing is lost when they do not.
const patience = 3 * time.Second

func main() {
	db := flag.String("db", "", "the `FILE` that keeps the state; it is made where it is missing")
	listen := flag.String("listen", "127.0.0.1:0", "`HOST:PORT` to serve at; port 0 is a free one")
	child := flag.Bool("child", false, "end when standard input ends, as it does with the parent process")
	verbose := flag.Bool("verbose", false, "log what the server does to standard error")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if *child {
		var orphaned context.CancelFunc
		ctx, orphaned = context.WithCancel(ctx)
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin) // ends with the parent, however it ends
			orphaned()
		}()
	}
	if err := serve(ctx, *db, *listen, *verbose, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "orrery-sweepd:", err)
		os.Exit(status(err))
	}
}

// badInput is an error in the arguments.
type badInput struct{ error }

func status(err error) int {
	var bad badInput
	switch {
	case errors.As(err, &bad):
		return exitBadInput
	case errors.Is(err, errHeld):
		return exitHeld
	}
	return exitFailure
}

// serve serves until the context ends.
func serve(ctx context.Context, db, listen string, verbose bool, out io.Writer) error {
	if db == "" || flag.NArg() > 0 {
		return badInput{errors.New("want --db FILE and nothing else; see --help")}
	}
	unlock, err := lock(db + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	server, address, err := newServer(db, listen, verbose)
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return fmt.Errorf("the server does not start: %w", err)
	}
	if _, err := fmt.Fprintln(out, "serving", address); err != nil {
		return fmt.Errorf("nobody hears where the server is: %w", err)
	}
	<-ctx.Done()
	ended := make(chan error, 1)
	go func() { ended <- server.Stop() }()
	select {
	case err = <-ended:
	case <-time.After(patience):
	}
	return err
}
