package cmd

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// smallDisk mounts an empty disk of some KiB: smalldisk FOLDER KIB. Guard it with the
// condition [disk].
func smallDisk(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: smalldisk FOLDER KIB")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(mount(dir, args[1]))
	ts.Defer(func() { ts.Check(syscall.Unmount(dir, 0)) })
}

func mount(dir, kib string) error {
	return syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%sk", kib))
}

// canMount tells whether this process may mount a disk.
func canMount(t *testing.T) bool {
	dir := t.TempDir()
	if err := mount(dir, "64"); err != nil {
		return false
	}
	return syscall.Unmount(dir, 0) == nil
}
