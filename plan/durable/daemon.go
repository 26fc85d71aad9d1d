package durable

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"orrery/internal/whole"
)

// DaemonName is the program that serves: the nested module sweepd.
const DaemonName = "orrery-sweepd"

// FindDaemon returns the path of the program that serves, or [ErrNoDaemon].
func FindDaemon() (string, error) {
	if self, err := os.Executable(); err == nil {
		beside, err := exec.LookPath(filepath.Join(filepath.Dir(self), DaemonName))
		if err == nil {
			return beside, nil
		}
	}
	inPath, err := exec.LookPath(DaemonName)
	if err != nil {
		return "", ErrNoDaemon
	}
	return filepath.Abs(inPath)
}

// daemon keeps a server alive for a folder: as a child, or, while another process serves the
// folder, there. What is not ours is taken over when it ends.
type daemon struct {
	program, folder string
	note            func(format string, args ...any)
	address         string // the same as long as this process lives

	cancel context.CancelFunc
	done   sync.WaitGroup
}

// exitHeld is the exit status of a daemon whose folder another one serves.
const exitHeld = 3

const (
	startPatience = 30 * time.Second // a start takes half a second on an idle machine
	retryAfter    = time.Second
)

// startDaemon returns when a server serves the folder.
func startDaemon(ctx context.Context, program, folder string, note func(string, ...any)) (*daemon, error) {
	// The server has to outlive the context: work is handed back to it.
	keep, cancel := context.WithCancel(context.WithoutCancel(ctx))
	d := &daemon{program: program, folder: folder, note: note, cancel: cancel}
	first := make(chan error, 1)
	d.done.Go(func() { d.keep(keep, first) })
	select {
	case err := <-first:
		if err != nil {
			d.stop()
			return nil, err
		}
		return d, nil
	case <-time.After(startPatience):
		d.stop()
		return nil, fmt.Errorf("%s does not serve after %v", program, startPatience)
	case <-ctx.Done():
		d.stop()
		return nil, context.Cause(ctx)
	}
}

// stop ends the server if it is ours.
func (d *daemon) stop() {
	d.cancel()
	d.done.Wait()
}

// keep starts servers until the context ends. It reports the first address, or why there is none.
func (d *daemon) keep(ctx context.Context, first chan<- error) {
	report := func(err error) {
		if first != nil {
			first <- err
			first = nil
		}
	}
	for ctx.Err() == nil {
		err := d.serve(ctx, func(address string) {
			if first != nil {
				d.address = address
			}
			report(nil)
		})
		var exit *exec.ExitError
		switch {
		case ctx.Err() != nil:
			return
		case errors.As(err, &exit) && exit.ExitCode() == exitHeld:
			if address, err := os.ReadFile(d.addressFile()); err == nil && first != nil {
				d.address = strings.TrimSpace(string(address))
				report(nil)
			}
		case first != nil:
			report(err)
			return
		default:
			d.note("the server of the sweep has ended (%v); starting it again", err)
		}
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
		}
	}
}

func (d *daemon) addressFile() string { return filepath.Join(d.folder, engineFolder, "address") }

// serve runs one server to its end, and tells when it serves and where.
func (d *daemon) serve(ctx context.Context, serving func(address string)) error {
	folder := filepath.Join(d.folder, engineFolder)
	listen := "127.0.0.1:0"
	if d.address != "" {
		listen = d.address // where clients look for it
	}
	c := exec.CommandContext(ctx, d.program, "--child", "--db", filepath.Join(folder, "sweep.db"), "--listen", listen)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 5 * time.Second
	detach(c)
	in, err := c.StdinPipe() // ends with this process, and the server with it
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	var complaint strings.Builder
	c.Stderr = &lines{w: &complaint}
	if err := c.Start(); err != nil {
		return fmt.Errorf("cannot start %s: %w", d.program, err)
	}
	for s := bufio.NewScanner(out); s.Scan(); {
		if address, ok := strings.CutPrefix(s.Text(), "serving "); ok {
			if err := whole.Write(d.addressFile(), []byte(address+"\n")); err != nil && !errors.Is(err, fs.ErrExist) {
				d.note("%v", err)
			}
			serving(address)
		}
	}
	if err := c.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.Join(strings.Fields(complaint.String()), " "))
	}
	return errors.New("it was told to")
}

// lines keeps the first bytes of what is written, which are enough for a message.
type lines struct {
	w *strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	if room := 500 - l.w.Len(); room > 0 {
		l.w.Write(b[:min(room, len(b))])
	}
	return len(b), nil
}

var _ io.Writer = (*lines)(nil)
