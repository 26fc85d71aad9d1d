package durable

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"orrery/internal/whole"
	"orrery/plan/sweep"
)

// Server is where a Temporal server is.
type Server struct {
	Address   string // host:port
	Namespace string // default if empty
}

// dial connects to the server.
func (s Server) dial(ctx context.Context) (client.Client, error) {
	c, err := client.DialContext(ctx, client.Options{
		HostPort: s.Address, Namespace: s.Namespace, Identity: name(),
		Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)), // what matters comes back as errors
	})
	if err != nil {
		return nil, fmt.Errorf("no Temporal server answers at %s: %s", s.Address, oneLine(err))
	}
	return c, nil
}

// name returns that of this process, by which a server tells workers apart.
func name() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("%s process %d", host, os.Getpid())
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// Worker runs what sweeps hand out.
type Worker struct {
	Server  Server
	Results *sweep.Dir    // that it shares with the sweeps
	Jobs    int           // runs at a time, as many as there are cores if 0
	Idle    time.Duration // without work after which it ends; 0 for never
}

// Serve works until the context ends, or there was nothing to do for long.
func (w *Worker) Serve(ctx context.Context) error {
	queue, err := Place(w.Results.Path)
	if err != nil {
		return err
	}
	c, err := w.Server.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	a, stop, err := work(c, queue, w.Results, w.Jobs)
	if err != nil {
		return err
	}
	defer stop()
	return a.wait(ctx, w.Idle)
}

// wait returns when the context ends or nothing was to do for long.
func (a *activities) wait(ctx context.Context, idle time.Duration) error {
	a.ended.CompareAndSwap(0, time.Now().UnixNano())
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if idle > 0 && a.busy.Load() == 0 && now.Sub(time.Unix(0, a.ended.Load())) >= idle {
				return nil
			}
		}
	}
}

// work begins to serve a task queue. To stop hands back what is under way.
func work(c client.Client, queue string, store *sweep.Dir, jobs int) (a *activities, stop func(), err error) {
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	a = &activities{store: store, plans: &planReader{dir: store.Path}, self: Seen{name(), jobs}}
	w := worker.New(c, queue, worker.Options{
		MaxConcurrentActivityExecutionSize: jobs,
		// Runs in progress stop by themselves when they are told to; see alive.
		WorkerStopTimeout: 10 * time.Second,
	})
	w.RegisterWorkflowWithOptions(Sweep, workflow.RegisterOptions{Name: "Sweep"})
	w.RegisterActivityWithOptions(a.RunSpan, activity.RegisterOptions{Name: "RunSpan"})
	w.RegisterActivityWithOptions(a.GiveUp, activity.RegisterOptions{Name: "GiveUp"})
	if err := w.Start(); err != nil {
		return nil, nil, fmt.Errorf("the worker cannot start: %s", oneLine(err))
	}
	return a, w.Stop, nil
}

// idDigits is the length of what names a sweep or a place, in hexadecimal digits.
const idDigits = 16

// Place returns the task queue of a folder of results and this build of the program: who has
// another folder, or would come to other results, shall not take its work.
func Place(folder string) (queue string, err error) {
	build, err := sweep.Build()
	if err != nil {
		return "", err
	}
	id, err := folderID(folder)
	if err != nil {
		return "", err
	}
	return "orrery-" + digest(build, id), nil
}

// digest returns a short hash of texts that have no line breaks.
func digest(texts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(texts, "\n")))
	return hex.EncodeToString(sum[:])[:idDigits]
}

// folderID returns what a folder of results is known by on all machines, whatever its path there. The
// first to ask draws it.
func folderID(folder string) (string, error) {
	file := filepath.Join(folder, engineFolder, "id")
	id, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if err = drawID(file); err == nil {
			id, err = os.ReadFile(file)
		}
	}
	if err != nil {
		return "", fmt.Errorf("the folder of results cannot be used: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}

// drawID writes a new id, unless another process was faster.
func drawID(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	own := fmt.Sprintf("%s.%s", file, rand.Text())
	if err := whole.WriteSynced(own, []byte(rand.Text()+"\n")); err != nil {
		return err
	}
	defer os.Remove(own)
	if err := os.Link(own, file); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
