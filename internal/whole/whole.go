// Package whole writes files that appear whole or not at all: a file is written
// under a temporary name in the folder where it will be, and renamed into place
// when it is complete. A full disk, a lost mount or an interrupted program leaves
// what was there before.
package whole

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// File is a file under construction. End it with either [File.Commit] or
// [File.Abort]; Abort after Commit does nothing, so it can be deferred.
type File struct {
	path string
	f    *os.File
	buf  *bufio.Writer
	sync bool  // Commit waits for the disk
	err  error // the first error
}

// Create begins a file that will appear at path. The folder must exist.
func Create(path string) (*File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return nil, Error(path, err)
	}
	return &File{path: path, f: f, buf: bufio.NewWriterSize(f, 1<<16)}, nil
}

// Write adds to the file. Once a write has failed all later ones fail as well, and
// so does Commit: nobody who forgets to look at an error loses data unawares.
func (f *File) Write(b []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.buf.Write(b)
	if err != nil {
		f.err = Error(f.path, err)
	}
	return n, f.err
}

// Flush hands what was written to the operating system, so that a Commit later finds
// room for it.
func (f *File) Flush() error {
	if f.err == nil {
		if err := f.buf.Flush(); err != nil {
			f.err = Error(f.path, err)
		}
	}
	return f.err
}

// Commit completes the file and puts it in its place, replacing what is there. If
// anything has failed it removes the temporary file and returns the first error.
func (f *File) Commit() error {
	if f.f == nil {
		return f.err
	}
	keep := func(err error) {
		if f.err == nil && err != nil {
			f.err = Error(f.path, err)
		}
	}
	temp := f.f.Name()
	keep(f.buf.Flush())
	keep(f.f.Chmod(0o644))
	if f.sync && f.err == nil {
		keep(f.f.Sync())
	}
	keep(f.f.Close())
	f.f = nil
	if f.err == nil {
		keep(os.Rename(temp, f.path))
	}
	if f.err != nil {
		os.Remove(temp)
	}
	return f.err
}

// Abort gives the file up and removes what was written.
func (f *File) Abort() {
	if f.f == nil {
		return
	}
	f.f.Close()
	os.Remove(f.f.Name())
	f.f = nil
	if f.err == nil {
		f.err = fmt.Errorf("%s: given up", f.path)
	}
}

// Write puts data at path, whole.
func Write(path string, data []byte) error { return write(path, data, false) }

// WriteSynced is [Write] that returns when the data is on the disk, so that not even a loss of
// power leaves half of it under the file's name.
func WriteSynced(path string, data []byte) error { return write(path, data, true) }

func write(path string, data []byte, sync bool) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	f.sync = sync
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Commit()
}

// Error says in one line that path cannot be written and why, without the
// temporary names that the operating system's message has.
func Error(path string, err error) error {
	var pe *fs.PathError
	var le *os.LinkError
	switch {
	case errors.As(err, &pe):
		err = pe.Err
	case errors.As(err, &le):
		err = le.Err
	}
	return fmt.Errorf("cannot write %s: %w", path, err)
}
