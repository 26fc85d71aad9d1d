package hwmodel

import (
	"embed"
	"fmt"
	"path"
	"strings"

	"orrery/internal/names"
)

//go:embed frameworks/*.toml
var frameworkFiles embed.FS

// Framework is what the program that runs a network operator by operator puts on top of
// its kernels: the host time that each launch takes, what neighbouring operators are
// fused into, and how much longer kernels take in a sustained run of it than alone. A
// framework is one TOML file.
type Framework struct {
	Name string `toml:"name"`
	Note string `toml:"note"` // what it stands for

	// Kernel is the host time from one launch to the next, seconds: the interpreter, the
	// dispatcher and the driver. The host runs ahead of the device, so that it shows only
	// where kernels are shorter.
	Kernel float64 `toml:"kernel"`
	// Fixed is the host time of a whole run beside its launches, seconds: tokenising,
	// post-processing, synchronisation.
	Fixed float64 `toml:"fixed"`
	// Layout tells that images lie channel by channel, so that 16-bit convolutions on tensor
	// cores bring them into the order of their tiles and the result back.
	Layout bool `toml:"layout"`
	// Fused tells that operators that only move data are compiled into one kernel with
	// their neighbours of that kind.
	Fused bool `toml:"fused"`

	// TF32 tells that products in 32 bits take tensor cores where there are any for them;
	// convolutions always do.
	TF32 bool `toml:"tf32"`

	Boards []FrameworkBoard `toml:"board"`
}

// FrameworkBoard holds what was fitted to whole runs on one board.
type FrameworkBoard struct {
	Device string `toml:"device"`
	DType  string `toml:"dtype"` // fp16 or fp32; bf16 counts as fp16
	// Slower is the time of convolutions and of kernels that move images in times of that by
	// their own constants: clocks under sustained load, and what those constants miss. Products
	// and softmax take the time that they take alone.
	Slower float64 `toml:"slower"`
	// Attention is the same for fused attention: frameworks of images run kernels of other
	// generations than the libraries of text models that were measured.
	Attention float64 `toml:"attention"`
	Host      float64 `toml:"host"` // times as long for all host work as on the machines that Kernel stands for
	Fit       `toml:"fit"`
}

// LoadFramework returns the named framework, one of those that come with the program.
func LoadFramework(name string) (*Framework, error) {
	data, err := frameworkFiles.ReadFile("frameworks/" + name + ".toml")
	if err != nil {
		return nil, names.Unknown("framework", name, Frameworks())
	}
	return ParseFramework(data, name+".toml")
}

// Frameworks returns the frameworks that come with the program, in order.
func Frameworks() []string { return tomlNames(frameworkFiles, "frameworks") }

// ParseFramework reads a framework from TOML. The name of the file stands in errors.
func ParseFramework(data []byte, file string) (*Framework, error) {
	f := new(Framework)
	if err := decodeTOML(data, path.Base(file), f); err != nil {
		return nil, err
	}
	c := checker{}
	c.time("kernel", f.Kernel)
	c.time("fixed", f.Fixed)
	for i := range f.Boards {
		b := &f.Boards[i]
		if b.DType != "fp16" && b.DType != "fp32" {
			c.fail("dtype of %s is %q, must be fp16 or fp32", b.Device, b.DType)
		}
		c.positive(b.Device+".slower", b.Slower)
		c.positive(b.Device+".attention", b.Attention)
		c.positive(b.Device+".host", b.Host)
	}
	if c.err != nil {
		return nil, fmt.Errorf("%s: %w", path.Base(file), c.err)
	}
	return f, nil
}

// strangerBand is the half-width of the 90 % band of the logarithm of a run's time on a board that no run of
// the framework was measured on. Boards that were measured differ from their mean by
// a factor of 1.3 at most.
const strangerBand = 0.35

// On returns what was fitted on d for runs in dtype: on the board itself, else the mean of boards
// of its architecture, else of all boards, marked as derived. archOf returns the
// architecture of a board.
func (f *Framework) On(d *Device, dtype string, archOf func(board string) string) FrameworkBoard {
	like := func(b *FrameworkBoard) bool { return Tensor16(b.DType) == Tensor16(dtype) }
	for i := range f.Boards {
		if b := &f.Boards[i]; b.Device == d.Name && like(b) {
			return *b
		}
	}
	for _, near := range []func(b *FrameworkBoard) bool{
		func(b *FrameworkBoard) bool { return like(b) && archOf(b.Device) == d.Arch },
		like,
		func(*FrameworkBoard) bool { return true },
	} {
		if b, ok := f.mean(near); ok {
			b.Device, b.DType = d.Name, dtype
			return b
		}
	}
	return FrameworkBoard{
		Device: d.Name, DType: dtype, Slower: 1, Attention: 1, Host: 1,
		Fit: Fit{Derived: true, Band: strangerBand, Source: "kernels as alone"},
	}
}

// mean returns the mean of the boards that belong, marked as derived.
func (f *Framework) mean(belongs func(b *FrameworkBoard) bool) (FrameworkBoard, bool) {
	var out FrameworkBoard
	var from []string
	for i := range f.Boards {
		if b := &f.Boards[i]; belongs(b) {
			out.Slower += b.Slower
			out.Attention += b.Attention
			out.Host += b.Host
			from = append(from, b.Device)
		}
	}
	n := float64(len(from))
	out.Slower, out.Attention, out.Host = out.Slower/n, out.Attention/n, out.Host/n
	out.Fit = Fit{Derived: true, Band: strangerBand, Source: "mean of " + strings.Join(from, ", ")}
	return out, len(from) > 0
}
