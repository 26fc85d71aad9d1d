//go:build unix

package sweep

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"orrery/internal/whole"
)

// locked calls do while no other process that calls it for the folder is in it. The lock goes
// with the process, however that ends.
func locked(folder string, do func() error) error {
	path := filepath.Join(folder, ".lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return whole.Error(path, err)
	}
	defer f.Close()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err == nil || err == unix.ENOLCK || err == unix.ENOTSUP {
			return do() // some file systems of networks have no locks; the files are whole even so
		}
		if err != unix.EINTR {
			return whole.Error(path, err)
		}
	}
}
