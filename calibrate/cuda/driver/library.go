//go:build linux && (amd64 || arm64)

package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// library is a C library in this process, which cannot unload it.
type library struct {
	name   string
	handle uintptr
	failed func(status int32) string // what a status means, in words
}

// load opens a library of one of the file names. Libraries that it loads itself, by a
// name that begins like companion, are opened first from the folder it lies in, since
// the loader would not look there.
func load(name, companion string, files []string) (*library, error) {
	var first error
	for _, path := range candidates(files, os.Getenv) {
		if companion != "" && strings.Contains(path, "/") {
			found, _ := filepath.Glob(filepath.Join(filepath.Dir(path), companion+"*.so*"))
			for _, f := range found {
				// Without it the library says itself what it lacks.
				_, _ = purego.Dlopen(f, purego.RTLD_NOW|purego.RTLD_GLOBAL)
			}
		}
		handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
		if err == nil {
			return &library{name: name, handle: handle}, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, fmt.Errorf("%s cannot be loaded: %w", name, first)
}

// function is a function of a library that returns a status, 0 if all went well.
type function struct {
	lib  *library
	name string
	addr uintptr
}

// bind looks functions up.
func (l *library) bind(to map[string]*function) error {
	for name, f := range to {
		addr, err := purego.Dlsym(l.handle, name)
		if err != nil {
			return fmt.Errorf("%s has no %s; it is too old or too new", l.name, name)
		}
		*f = function{l, name, addr}
	}
	return nil
}

// failure is a status that is not 0.
type failure struct {
	function string
	status   int32
	text     string
}

func (f *failure) Error() string {
	if f.text == "" {
		return fmt.Sprintf("%s failed with status %d", f.function, f.status)
	}
	return fmt.Sprintf("%s: %s", f.function, f.text)
}

// call calls the function. Pointers are converted in the list of arguments itself: only
// then does the compiler keep what they point to, and where it is, until call returns.
//
//go:uintptrescapes
func (f function) call(args ...uintptr) error {
	status, _, _ := purego.SyscallN(f.addr, args...)
	if int32(status) == 0 {
		return nil
	}
	e := &failure{function: f.name, status: int32(status)}
	if f.lib.failed != nil {
		e.text = f.lib.failed(e.status)
	}
	return e
}

// cString returns a string as C has it.
func cString(s string) *byte { return &append([]byte(s), 0)[0] }

// text returns the string that ends at the first 0.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}

// textAt returns a string of C's.
func textAt(p *byte) string {
	if p == nil {
		return ""
	}
	const most = 512
	n := 0
	for n < most && *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(p, n))
}
