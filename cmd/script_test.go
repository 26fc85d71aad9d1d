package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"orrery/internal/fakeserver"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"orrery": func() { os.Exit(Main()) }})
}

// The command line, as conversations: see testdata/script.
func TestScripts(t *testing.T) {
	disk := canMount(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":     exits,
			"interrupt": interrupt,
			"json":      checkJSON,
			"serve":     serve,
			"smalldisk": smallDisk,
		},
		Condition: func(cond string) (bool, error) {
			if cond != "disk" {
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			return disk, nil
		},
		RequireExplicitExec: true,
	})
}

// serve starts a server that speaks OpenAI's API on a schedule and sets its address in
// an environment variable: serve VARIABLE [TROUBLE EVERY], where every so many-th question
// meets the trouble (see package fakeserver).
func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 && len(args) != 3 {
		ts.Fatalf("usage: serve VARIABLE [TROUBLE EVERY]")
	}
	f := &fakeserver.Server{FirstToken: 5 * time.Millisecond, Gap: time.Millisecond}
	if len(args) == 3 {
		every, err := strconv.Atoi(args[2])
		ts.Check(err)
		f.Trouble = func(n int) fakeserver.Trouble {
			if n%every != every-1 {
				return fakeserver.Fine
			}
			return fakeserver.Trouble(args[1])
		}
	}
	h := httptest.NewServer(f)
	ts.Defer(func() {
		h.CloseClientConnections()
		h.Close()
	})
	ts.Setenv(args[0], h.URL)
}

// exits runs a program and checks its exit status: exits STATUS PROGRAM ARG... What it
// printed is in the files out and err.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS PROGRAM ARG...")
	}
	status, err := strconv.Atoi(args[0])
	ts.Check(err)
	var out, errOut bytes.Buffer
	c := command(ts, args[1:], &out, &errOut)
	got := statusOf(ts, c.Run())
	ts.Check(os.WriteFile(ts.MkAbs("out"), out.Bytes(), 0o644))
	ts.Check(os.WriteFile(ts.MkAbs("err"), errOut.Bytes(), 0o644))
	if got != status {
		ts.Fatalf("exit status %d, want %d\nstdout:\n%s\nstderr:\n%s", got, status, out.Bytes(), errOut.Bytes())
	}
}

// interrupt runs a command with --out FOLDER, sends it SIGINT once it has begun the
// folder, and checks that it exits with 130: interrupt FOLDER PROGRAM ARG...
func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: interrupt FOLDER PROGRAM ARG...")
	}
	var out, errOut bytes.Buffer
	c := command(ts, append(args[1:], "--out", args[0]), &out, &errOut)
	ts.Check(c.Start())
	folder := ts.MkAbs(args[0])
	for begun := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		hidden, err := filepath.Glob(filepath.Join(filepath.Dir(folder), "."+filepath.Base(folder)+".*.tmp"))
		ts.Check(err)
		_, err = os.Stat(filepath.Join(folder, "manifest.json")) // of a sweep, which keeps as it goes
		if len(hidden) > 0 || err == nil {
			break
		}
		if time.Since(begun) > 20*time.Second {
			c.Process.Kill()
			ts.Fatalf("no folder was begun\nstderr:\n%s", errOut.Bytes())
		}
	}
	time.Sleep(400 * time.Millisecond) // for some work to keep
	ts.Check(c.Process.Signal(syscall.SIGINT))
	sent := time.Now()
	if got := statusOf(ts, c.Wait()); got != exitInterrupted {
		ts.Fatalf("exit status %d, want %d\nstdout:\n%s\nstderr:\n%s", got, exitInterrupted, out.Bytes(), errOut.Bytes())
	}
	if took := time.Since(sent); took > 10*time.Second {
		ts.Fatalf("it took %v to stop", took)
	}
	ts.Check(os.WriteFile(ts.MkAbs("out"), out.Bytes(), 0o644))
	ts.Check(os.WriteFile(ts.MkAbs("err"), errOut.Bytes(), 0o644))
}

func command(ts *testscript.TestScript, args []string, out, errOut *bytes.Buffer) *exec.Cmd {
	path := args[0]
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) { // the script's, not the test's
		if s, err := os.Stat(filepath.Join(dir, path)); err == nil && !s.IsDir() {
			path = filepath.Join(dir, path)
			break
		}
	}
	c := exec.Command(path, args[1:]...)
	c.Dir = ts.MkAbs(".")
	c.Env = append(os.Environ(), "PATH="+ts.Getenv("PATH"))
	c.Stdout, c.Stderr = out, errOut
	return c
}

func statusOf(ts *testscript.TestScript, err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

// checkJSON checks that a file is one JSON value and nothing else, and what is in it:
// json FILE [PATH=VALUE]... A path is keys and indices, as in latency.ttft.p99_s; PATH=*
// wants something other than null there.
func checkJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: json FILE [PATH=VALUE]...")
	}
	var root any
	if err := json.Unmarshal([]byte(ts.ReadFile(args[0])), &root); err != nil {
		ts.Fatalf("%s is not JSON: %v", args[0], err)
	}
	for _, want := range args[1:] {
		path, value, _ := strings.Cut(want, "=")
		at := root
		for _, key := range strings.Split(path, ".") {
			switch x := at.(type) {
			case map[string]any:
				at = x[key]
			case []any:
				i, err := strconv.Atoi(key)
				if err != nil || i >= len(x) {
					ts.Fatalf("%s: no element %s in %s", args[0], key, path)
				}
				at = x[i]
			default:
				ts.Fatalf("%s: nothing at %s", args[0], path)
			}
		}
		if got := fmt.Sprint(at); value == "*" && at == nil || value != "*" && got != value {
			ts.Fatalf("%s: %s is %s, want %s", args[0], path, got, value)
		}
	}
}
