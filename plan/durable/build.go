package durable

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// BuildDaemon builds the program that serves beside this one, if its sources lie there, and
// returns its path. It takes minutes, and nothing is left of a build that was cut short.
// Without sources, or without the go command, it returns [ErrNoDaemon].
func BuildDaemon(ctx context.Context, note func(line string)) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", ErrNoDaemon
	}
	return buildDaemon(ctx, filepath.Dir(self), note)
}

// buildDaemon builds the program in a folder from the module sweepd in it.
func buildDaemon(ctx context.Context, folder string, note func(line string)) (string, error) {
	sources := filepath.Join(folder, "sweepd")
	module, err := os.ReadFile(filepath.Join(sources, "go.mod"))
	if err != nil || !bytes.HasPrefix(module, []byte("module orrery/sweepd\n")) {
		return "", ErrNoDaemon
	}
	compiler, err := exec.LookPath("go")
	if err != nil {
		return "", ErrNoDaemon
	}
	scratch, err := os.MkdirTemp(folder, ".build-")
	if err != nil {
		return "", fmt.Errorf("no place to build %s in: %w", DaemonName, err)
	}
	defer os.RemoveAll(scratch)
	note("building " + DaemonName + " beside this program, once; about 6 minutes of processor time")
	built := filepath.Join(scratch, DaemonName)
	c := exec.CommandContext(ctx, compiler, "build", "-C", sources, "-o", built, ".")
	if out, err := c.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return "", fmt.Errorf("%s does not build: %s", DaemonName, lines[len(lines)-1])
	}
	program := filepath.Join(folder, DaemonName)
	return program, os.Rename(built, program)
}
