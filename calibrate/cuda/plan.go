package cuda

import (
	"fmt"
	"slices"

	"orrery/calibrate"
	"orrery/calibrate/cuda/device"
	"orrery/internal/names"
	"orrery/workloads/llm"
)

// operation is a kind of call that can be measured, under the name that --ops takes.
type operation struct {
	name, about string
	points      func(p *planner) []*point
}

// operations are in the order in which they are measured. The bandwidths come first:
// they say whether the rest is worth the while.
var operations = []operation{
	{"microbench", "bandwidth of memory, L2 and the link to the host; what a launch costs", (*planner).micros},
	{"gemm", "products of matrices of the models' shapes, by cuBLAS and cublasLt", (*planner).gemms},
	{"attention_prefill", "attention from prompts and chunks, causal and full", (*planner).prefills},
	{"attention_decode", "attention of one token a sequence, with grouped queries and split keys", (*planner).decodes},
	{"attention_mixed", "one chunk of a prompt beside decodes", (*planner).mixed},
	{"elementwise", "add, gelu, silu_mul, rope; scale in a stream and in a graph", (*planner).streams},
	{"rownorm", "rmsnorm, layernorm, softmax", (*planner).rows},
	{"conv2d", "convolutions of image networks, by cuDNN or else by a kernel of our own", (*planner).convolutions},
	{"comm", "collectives and copies among several devices, by NCCL", (*planner).transfers},
}

// Operations returns the names of what can be measured and a line about each.
func Operations() [][2]string {
	var out [][2]string
	for _, o := range operations {
		out = append(out, [2]string{o.name, o.about})
	}
	return out
}

// Known returns an error unless all of ops are names of operations.
func Known(ops []string) error {
	var known []string
	for _, o := range operations {
		known = append(known, o.name)
	}
	for _, name := range ops {
		if !slices.Contains(known, name) {
			return names.Unknown("operation", name, known)
		}
	}
	return nil
}

// planner decides what is measured on a device.
type planner struct {
	lacks  func(library, dtype string) error // of the device
	info   device.Info
	gpu    string // as measurement files name it
	models []*llm.Model
	quick  bool
	fabric device.Fabric // nil on a machine with one device
}

// Target is what a plan depends on: a [device.Device], or [Imagined].
type Target interface {
	Info() device.Info
	Lacks(library, dtype string) error
}

// Imagined is a device that lacks nothing, to look at a plan without a GPU.
type Imagined struct{}

// Info describes an A100 with 80 GB.
func (Imagined) Info() device.Info {
	return device.Info{Name: "A100-SXM4-80GB", Major: 8, SMs: 108, Threads: 2048, Shared: 163 << 10, Memory: 80 << 30, Free: 80 << 30, L2: 40 << 20, ClockMHz: 1410}
}

// Lacks knows all formats but fp8, which the device has not.
func (Imagined) Lacks(_, dtype string) error {
	if dtype == "fp8" {
		return &device.Missing{What: "fp8 wants compute capability 8.9 or later"}
	}
	return nil
}

func newPlanner(dev Target, o *Options) (*planner, error) {
	p := &planner{lacks: dev.Lacks, info: dev.Info(), quick: o.Quick}
	p.gpu = BoardName(p.info.Name)
	list := llm.Names()
	if o.Quick {
		list = []string{"llama-3.1-8b"}
	}
	for _, name := range list {
		m, err := llm.Load(name)
		if err != nil {
			return nil, err
		}
		p.models = append(p.models, m)
	}
	return p, nil
}

// group is the points of an operation.
type group struct {
	op     string
	points []*point
}

// plan returns what is measured, operation by operation. Operations whose rows
// measurement files cannot hold have no points.
func (p *planner) plan(ops []string) ([]group, error) {
	if err := Known(ops); err != nil {
		return nil, err
	}
	var groups []group
	for _, o := range operations {
		if len(ops) > 0 && !slices.Contains(ops, o.name) {
			continue
		}
		if _, ok := calibrate.FindOperator(o.name); !ok && o.name != "microbench" {
			continue
		}
		groups = append(groups, group{o.name, o.points(p)})
	}
	return groups, nil
}

// half is the 16-bit format that models use on the device.
func (p *planner) half() string {
	if p.info.Capability() >= 80 {
		return "bf16"
	}
	return "fp16"
}

// formats are those of kernels of our own, the models' first.
func (p *planner) formats() []string {
	if p.quick {
		return []string{p.half()}
	}
	if p.half() == "bf16" {
		return []string{"bf16", "fp16", "fp32"}
	}
	return []string{"fp16", "fp32"}
}

// ladder returns sizes from lo to hi: powers of 2, and from 64 on those halfway between
// by ratio, which fill waves and tiles differently. A quick run takes every fourth power.
func (p *planner) ladder(lo, hi int) []int {
	var sizes []int
	for n := lo; n <= hi; n *= 2 {
		sizes = append(sizes, n)
		if n >= 64 && n*3/2 < hi && hi <= 8192 {
			sizes = append(sizes, n*3/2)
		}
	}
	if !p.quick {
		return sizes
	}
	var few []int
	for i := 0; i < len(sizes); i += 4 {
		few = append(few, sizes[i])
	}
	return few
}

// Describe returns what would be measured, a line a point, by operation.
func Describe(dev Target, o *Options) ([]string, error) {
	p, err := newPlanner(dev, o)
	if err != nil {
		return nil, err
	}
	groups, err := p.plan(o.Ops)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, g := range groups {
		for _, pt := range g.points {
			lines = append(lines, fmt.Sprint(pt))
		}
	}
	return lines, nil
}
