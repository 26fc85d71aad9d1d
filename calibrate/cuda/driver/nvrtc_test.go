//go:build linux && (amd64 || arm64)

package driver

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"orrery/calibrate/cuda/device"
	"orrery/calibrate/cuda/kernels"
)

// Every file of kernels compiles to machine code for Turing, Ampere and Hopper, without
// a GPU and without the toolkit's headers.
func TestKernelsCompile(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles for a minute")
	}
	c, err := NewCompiler()
	var missing *device.Missing
	if errors.As(err, &missing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	known, err := c.Capabilities()
	if err != nil {
		t.Fatal(err)
	}
	for _, capability := range []int{75, 80, 90} {
		if !slices.Contains(known, capability) {
			t.Logf("this NVRTC does not know sm_%d: left out", capability)
			continue
		}
		for _, s := range kernels.Programs() {
			code, err := c.Compile(s, fmt.Sprintf("sm_%d", capability))
			if err != nil {
				t.Error(err)
				continue
			}
			checkCode(t, fmt.Sprintf("%s for sm_%d", s.Name, capability), s, code)
		}
	}
}

// checkCode checks that a module is machine code for GPUs, and that every kernel of the
// source is in it.
func checkCode(t *testing.T, name string, s kernels.Source, code []byte) {
	t.Helper()
	const machineCUDA = 190
	// NVIDIA's modules state a version of their own where ELF has 1.
	code = slices.Clone(code)
	binary.LittleEndian.PutUint32(code[20:], uint32(elf.EV_CURRENT))
	f, err := elf.NewFile(bytes.NewReader(code))
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if f.Machine != machineCUDA {
		t.Errorf("%s is for machine %d, want %d", name, f.Machine, machineCUDA)
	}
	var compiled []string
	for _, section := range f.Sections {
		if kernel, ok := strings.CutPrefix(section.Name, ".text."); ok {
			compiled = append(compiled, kernel)
		}
	}
	for _, stem := range kernels.Stems(s) {
		if !slices.ContainsFunc(compiled, func(k string) bool { return k == stem || strings.HasSuffix(stem, "_") && strings.HasPrefix(k, stem) }) {
			t.Errorf("%s: no kernel %s among %q", name, stem, compiled)
		}
	}
	if len(compiled) == 0 {
		t.Errorf("%s has no kernels", name)
	}
}

// An error of the compiler names the file and the line.
func TestCompilerSaysWhere(t *testing.T) {
	c, err := NewCompiler()
	var missing *device.Missing
	if errors.As(err, &missing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Compile(kernels.Source{Name: "wrong.cu", Text: "#include \"common.cuh\"\nextern \"C\" __global__ void f() { nothing_like_it(); }\n"}, "compute_80")
	if err == nil || !strings.Contains(err.Error(), "wrong.cu(2)") {
		t.Errorf("error is %v, want one about line 2", err)
	}
	ptx, err := c.Compile(kernels.Source{Name: "right.cu", Text: "extern \"C\" __global__ void f() {}"}, "compute_80")
	if err != nil || !strings.Contains(string(ptx), ".visible .entry f()") {
		t.Errorf("PTX is %s, error %v", ptx, err)
	}
}

// Code is for the device's family if NVRTC knows it, and PTX of the last one it knows
// otherwise.
func TestTarget(t *testing.T) {
	known := []int{70, 75, 80, 86, 90}
	for capability, want := range map[int]string{75: "sm_75", 80: "sm_80", 89: "sm_86", 90: "sm_90", 120: "compute_90"} {
		if got, err := Target(known, capability); got != want || err != nil {
			t.Errorf("for %d the target is %q (%v), want %s", capability, got, err, want)
		}
	}
	for _, c := range []struct {
		known      []int
		capability int
	}{{known, 61}, {[]int{80, 90}, 75}} {
		if got, err := Target(c.known, c.capability); err == nil {
			t.Errorf("for %d among %v the target is %s, want an error", c.capability, c.known, got)
		}
	}
}
