package driver

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"orrery/calibrate/cuda/device"
)

// A machine without a GPU is told so in one line, with what to do.
func TestNoGPU(t *testing.T) {
	g, err := Open(0)
	if err == nil {
		defer g.Close()
		t.Skip("there is a GPU here")
	}
	var missing *device.Missing
	if !errors.As(err, &missing) || missing.Do == "" {
		t.Errorf("error is %v, want one that says what to do", err)
	}
}

// The folder that the user names is looked at first, then the loader's places, then
// what pip installed, newer versions first.
func TestSearch(t *testing.T) {
	home := t.TempDir()
	named := filepath.Join(home, "named")
	var want []string
	for _, folder := range []string{named, filepath.Join(home, ".local/lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib"), filepath.Join(home, ".local/lib/python3.10/site-packages/nvidia/cuda_nvrtc/lib")} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(folder, "libx.so.1")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		want = append(want, path)
	}
	env := map[string]string{"HOME": home, "ORRERY_NVRTC": named}
	got := candidates([]string{"libx.so.2", "libx.so.1"}, func(key string) string { return env[key] })
	want = slices.Insert(want, 1, "libx.so.2", "libx.so.1")
	if !slices.Equal(got, want) {
		t.Errorf("looked at\n%q, want\n%q", got, want)
	}
}
