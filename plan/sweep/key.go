package sweep

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	"orrery/scenarios"
)

// keyBase is what the keys of a scenario's runs have in common.
type keyBase [sha256.Size]byte

// newKeyBase hashes a scenario, the files that it names and the program.
func newKeyBase(scenario []byte, files []string) (base keyBase, err error) {
	build, err := Build()
	if err != nil {
		return base, err
	}
	h := sha256.New()
	part(h, "orrery run 1")
	part(h, build)
	part(h, string(scenario))
	for _, file := range files {
		sum, err := contents(file)
		if err != nil {
			return base, err
		}
		part(h, sum)
	}
	h.Sum(base[:0])
	return base, nil
}

// key returns the key of the run with a seed, 64 hexadecimal digits.
func (b keyBase) key(seed uint64) string {
	sum := sha256.Sum256(binary.LittleEndian.AppendUint64(b[:], seed))
	return hex.EncodeToString(sum[:])
}

// part adds a text to a hash so that no two lists of texts give the same.
func part(h hash.Hash, text string) {
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(text))))
	io.WriteString(h, text)
}

// Key returns the name of a run: the SHA-256 of the scenario in TOML with its defaults written
// out, of what the files hold that it names, of the seed and of the program (see [Build]).
func Key(s *scenarios.Scenario, seed uint64) (string, error) {
	base, err := newKeyBase(s.Resolved(), s.Files())
	return base.key(seed), err
}

// contents returns a hash of what a file holds, or all files of a folder.
func contents(path string) (string, error) {
	h := sha256.New()
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error { // in the order of names
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(path, p)
		if err != nil {
			return err
		}
		part(h, filepath.ToSlash(rel))
		sum, err := fileSum(p)
		part(h, sum)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("a file of the scenario cannot be read: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// fileSum returns the SHA-256 of a file.
func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Build names the program as far as results depend on it: its version with the compiler and
// the processor. Where the version says not exactly which sources it was built from, as after
// local changes or without version control, the hash of the program's own file takes its
// place.
var Build = sync.OnceValues(func() (string, error) {
	version := scenarios.Version()
	if !exact(version) {
		file, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("the program cannot find its own file, by which its results are kept: %w", err)
		}
		sum, err := fileSum(file)
		if err != nil {
			return "", fmt.Errorf("the program cannot read its own file, by which its results are kept: %w", err)
		}
		version = "program " + sum
	}
	return strings.Join(append([]string{version, runtime.Version()}, target()...), " "), nil
})

// target returns what the program was compiled for: processors of another level may round sums
// of products otherwise.
func target() (settings []string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return []string{runtime.GOOS, runtime.GOARCH}
	}
	for _, s := range info.Settings {
		if strings.HasPrefix(s.Key, "GO") {
			settings = append(settings, s.Key+"="+s.Value)
		}
	}
	return settings
}

// exact tells whether a version says which sources a program was built from.
func exact(version string) bool {
	return strings.HasPrefix(version, "v") && !strings.Contains(version, "+dirty")
}
