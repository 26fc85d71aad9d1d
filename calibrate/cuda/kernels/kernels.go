// Package kernels holds the CUDA kernels as source, which is compiled where they run.
//
// They are plain CUDA C++ and need no header of the toolkit, so that NVRTC alone compiles
// them; nvcc takes each file by itself too (nvcc -arch sm_80 -cubin prefill.cu). They
// are written for compute capability 7.5 and later and use what 8.0 brought where it
// is there: asynchronous copies and products of bf16. A host compiler takes them with
// -DORRERY_EMULATE and the header of package emulate.
//
// Start reading at common.cuh; each .cu file says what its kernels do and how.
package kernels

import (
	"embed"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

//go:embed *.cu *.cuh
var files embed.FS

// Source is a file of kernels.
type Source struct{ Name, Text string }

// Programs returns the files that are compiled, each by itself; Headers those that they
// include. Both are in alphabetical order.
func Programs() []Source { return sources(".cu") }
func Headers() []Source  { return sources(".cuh") }

func sources(suffix string) []Source {
	names, err := fs.Glob(files, "*"+suffix)
	if err != nil {
		panic(err) // the pattern is part of the program
	}
	out := make([]Source, len(names))
	for i, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			panic(err) // the files are part of the program
		}
		out[i] = Source{name, string(text)}
	}
	return out
}

// ProgramOf returns the file that holds a kernel. Kernels are named by their function
// and, after underscores, their number format and sizes: rmsnorm_bf16.
func ProgramOf(kernel string) (Source, error) {
	all := Programs()
	i := slices.IndexFunc(all, func(s Source) bool {
		return slices.ContainsFunc(Stems(s), func(stem string) bool {
			return kernel == stem || strings.HasSuffix(stem, "_") && strings.HasPrefix(kernel, stem)
		})
	})
	if i < 0 {
		return Source{}, fmt.Errorf("kernels: no kernel %q", kernel)
	}
	return all[i], nil
}

// kernelName finds the names of kernels, those made by macros up to what is pasted to
// them.
var kernelName = regexp.MustCompile(`__global__ void(?: __launch_bounds__\(\d+\))?[\s\\]+(\w+)(##)?`)

// Stems returns the names of the kernels of a source; those that a macro makes end in an
// underscore, after which comes what the macro is given.
func Stems(s Source) []string {
	var out []string
	for _, m := range kernelName.FindAllStringSubmatch(s.Text, -1) {
		out = append(out, m[1])
	}
	return out
}

// Format returns how kernels name a number format of measurement files.
func Format(dtype string) string {
	switch dtype {
	case "fp32", "tf32":
		return "float"
	case "fp16":
		return "f16"
	case "int8":
		return "i8"
	}
	return dtype
}
