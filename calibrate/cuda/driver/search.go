package driver

import (
	"os"
	"path/filepath"
	"slices"
)

// folders returns where libraries of the CUDA toolkit may lie beside the loader's own
// places, likely ones first: what ORRERY_NVRTC names, the toolkit, and the packages that
// pip installs with PyTorch.
func folders(getenv func(string) string) []string {
	out := filepath.SplitList(getenv("ORRERY_NVRTC"))
	for _, name := range []string{"CUDA_HOME", "CUDA_PATH"} {
		if d := getenv(name); d != "" {
			out = append(out, filepath.Join(d, "lib64"), filepath.Join(d, "lib"))
		}
	}
	var patterns []string
	for _, name := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		if d := getenv(name); d != "" {
			patterns = append(patterns, filepath.Join(d, "lib/python3*/site-packages/nvidia/*/lib"))
			out = append(out, filepath.Join(d, "lib"))
		}
	}
	if d := getenv("HOME"); d != "" {
		patterns = append(patterns, filepath.Join(d, ".local/lib/python3*/site-packages/nvidia/*/lib"))
	}
	patterns = append(patterns,
		"/usr/local/lib/python3*/*-packages/nvidia/*/lib", "/usr/lib/python3*/*-packages/nvidia/*/lib", "/opt/*/lib/python3*/site-packages/nvidia/*/lib",
		"/usr/local/cuda/lib64", "/usr/local/cuda-*/lib64",
	)
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err != nil {
			continue // a folder's name has brackets in it
		}
		slices.Reverse(found) // newer versions first
		out = append(out, found...)
	}
	return out
}

// candidates returns what to open for a library of the given file names, newest first:
// in the folders that the user named, then as the loader finds it, then elsewhere.
func candidates(files []string, getenv func(string) string) []string {
	var out []string
	named := filepath.SplitList(getenv("ORRERY_NVRTC"))
	all := folders(getenv)
	for _, d := range all[:len(named)] {
		out = append(out, present(d, files)...)
	}
	out = append(out, files...)
	for _, d := range all[len(named):] {
		out = append(out, present(d, files)...)
	}
	return out
}

// present returns the files that are in a folder.
func present(folder string, files []string) []string {
	var out []string
	for _, f := range files {
		path := filepath.Join(folder, f)
		if _, err := os.Stat(path); err == nil {
			out = append(out, path)
		}
	}
	return out
}
