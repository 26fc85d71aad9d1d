package report

import (
	"errors"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A disk that fills up while a run writes is reported in one line and leaves
// nothing. A limit on the size of files stands for it.
func TestFolderOnAFullDisk(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Skip("cannot ask for the limit on file sizes: ", err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	for _, size := range []uint64{0, 4 << 10, 60 << 10} {
		dir := t.TempDir()
		f, err := CreateFolder(filepath.Join(dir, "a"), false)
		if err != nil {
			t.Fatal(err)
		}
		small := limit
		small.Cur = size
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
			t.Skip("cannot lower the limit on file sizes: ", err)
		}
		err = writeFolder(t, f)
		if e := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); e != nil {
			t.Fatal(e)
		}
		if !errors.Is(err, syscall.EFBIG) || !strings.HasPrefix(err.Error(), "cannot write "+filepath.Join(dir, "a")+": ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("with %d bytes a file: got %v", size, err)
		}
		if got := files(t, dir); got != "" {
			t.Errorf("with %d bytes a file there is %q", size, got)
		}
	}
}
