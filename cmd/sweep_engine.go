package cmd

import (
	"context"
	"errors"
	"net"

	"github.com/spf13/cobra"

	"orrery/internal/names"
	"orrery/plan/durable"
	"orrery/plan/sweep"
	"orrery/scenarios"
)

// engineFlags say what runs the cells of a sweep.
type engineFlags struct {
	engine    string
	temporal  string
	namespace string
}

// Engines.
const (
	engineAuto     = "auto"
	engineLocal    = "local"
	engineTemporal = "temporal"
)

func (f *engineFlags) addEngine(c *cobra.Command) {
	fs := c.Flags()
	fs.StringVar(&f.engine, "engine", engineAuto, "what runs the sweep: temporal, which is durable in all it does, local, which keeps finished runs, or auto: temporal if orrery-sweepd is there")
	fs.StringVar(&f.temporal, "temporal", "", "use the Temporal server at `HOST:PORT`, and its workers (orrery worker)")
	fs.StringVar(&f.namespace, "namespace", "", "namespace of that server (default: default)")
}

// sweepEngine returns the engine that the flags ask for. The id is of what it will be asked to run.
func (a *app) sweepEngine(ctx context.Context, f *engineFlags, id string, dir *sweep.Dir, jobs int) (sweep.Engine, error) {
	local := &sweep.Local{Jobs: jobs, Store: dir}
	remote := &durable.Engine{ID: id, Results: dir, Jobs: jobs, Note: func(line string) { a.note("%s", line) }}
	switch {
	case f.temporal != "" && f.engine == engineLocal:
		return nil, inputErrorf("--temporal and --engine local; want one of them")
	case f.temporal != "":
		if err := checkAddress(f.temporal); err != nil {
			return nil, err
		}
		remote.Server = durable.Server{Address: f.temporal, Namespace: f.namespace}
		return remote, nil
	case f.namespace != "":
		return nil, inputErrorf("--namespace is of a server; want --temporal HOST:PORT with it")
	case f.engine == engineLocal:
		return local, nil
	case f.engine == engineAuto:
		return &autoEngine{a, local, remote}, nil
	case f.engine != engineTemporal:
		return nil, badInput{names.Unknown("engine", f.engine, []string{engineAuto, engineLocal, engineTemporal})}
	}
	var err error
	if remote.Daemon, err = durable.FindDaemon(); err != nil {
		remote.Daemon, err = durable.BuildDaemon(ctx, func(line string) { a.note("%s", line) })
	}
	switch {
	case ctx.Err() != nil:
		return nil, errNothing
	case err != nil:
		return nil, inputErrorf("--engine temporal: %w; build it in orrery's sources by `go build -C sweepd -o ../orrery-sweepd .` and put it there", err)
	}
	return remote, nil
}

// checkAddress checks HOST:PORT.
func checkAddress(address string) error {
	if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" {
		return inputErrorf("--temporal %s; want HOST:PORT, such as 127.0.0.1:7233", address)
	}
	return nil
}

// autoEngine is the durable engine where it can be, and says in one line when it cannot. It looks only when
// there is something to run.
type autoEngine struct {
	app    *app
	local  sweep.Engine
	remote *durable.Engine
}

// Run implements [sweep.Engine].
func (e *autoEngine) Run(ctx context.Context, cells []sweep.Cell, sink func(sweep.Row)) error {
	why := e.unfit(cells)
	if why == nil {
		return e.remote.Run(ctx, cells, sink)
	}
	e.app.note("%v: this process runs the sweep, and keeps each run that is finished", why)
	return e.local.Run(ctx, cells, sink)
}

// unfit says why the durable engine cannot run cells.
func (e *autoEngine) unfit(cells []sweep.Cell) (err error) {
	if e.remote.Daemon, err = durable.FindDaemon(); err != nil {
		return err
	}
	if _, err := scenarios.ParseClosed("scenario.toml", cells[0].Scenario); err != nil {
		return errors.New("the scenario names files, which workers do not read")
	}
	return nil
}
