package cuda

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"orrery/calibrate"
	"orrery/calibrate/cuda/device"
)

// fake is a device that computes nothing and says how long it took.
type fake struct {
	device.Device
	log     strings.Builder // names of the samples, in order
	held    int             // allocations and recordings
	seconds func(name string, sample int) float64
	sampled map[string]int
	current string // point that is being prepared
}

func newFake(seconds func(name string, sample int) float64) *fake {
	return &fake{seconds: seconds, sampled: map[string]int{}}
}

func (f *fake) Info() device.Info {
	return device.Info{Name: "NVIDIA GeForce Fake", Major: 8, Minor: 6, SMs: 10, Free: 8 << 20, Memory: 16 << 20, L2: 1 << 10, ClockMHz: 1000, DRAMBytes: 1e11}
}
func (f *fake) Lacks(string, string) error      { return nil }
func (f *fake) Alloc(int64) (device.Ptr, error) { f.held++; return device.Ptr(4096 * f.held), nil }
func (f *fake) Free(device.Ptr) error           { f.held--; return nil }
func (f *fake) Launch(*device.Launch) error     { return nil }
func (f *fake) Record(mode device.Mode, n int, enqueue func(int) error) (device.Recording, error) {
	f.held++
	return &fakeRecording{f, f.current, mode, n}, nil
}

type fakeRecording struct {
	f    *fake
	name string
	mode device.Mode
	n    int
}

func (r *fakeRecording) Seconds() (float64, error) {
	if r.mode == device.Stream { // the estimate before the samples
		return float64(r.n) * r.f.seconds(r.name, -1), nil
	}
	s := r.f.seconds(r.name, r.f.sampled[r.name])
	r.f.sampled[r.name]++
	r.f.log.WriteString(r.name)
	return float64(r.n) * s, nil
}

func (r *fakeRecording) Close() error { r.f.held--; return nil }

// made is a point that takes so many bytes and records its time under its name.
func (f *fake) made(name string, bytes int64, check error) *point {
	return &point{
		table: "test", name: name, bytes: bytes,
		record: func(m *calibrate.Measured, seconds float64) {
			m.Micro = append(m.Micro, calibrate.Micro{GPU: "fake", Test: name, Parameter: "time", Value: seconds, Unit: "s", Source: Source})
		},
		prepare: func(a *arena) (*call, error) {
			f.current = name
			if _, err := a.take(bytes); err != nil {
				return nil, err
			}
			return &call{enqueue: func(int) error { return nil }, check: func() error { return check }}, nil
		},
	}
}

func (f *fake) measure(ctx context.Context, o Options, points ...*point) (*calibrate.Measured, error) {
	return measure(ctx, f, &planner{lacks: f.Lacks, info: f.Info(), gpu: "fake"}, []group{{"test", points}}, &o)
}

// The points of a batch take turns, and a sample that something disturbed does not
// show in the median.
func TestPointsTakeTurnsAndMediansHold(t *testing.T) {
	f := newFake(func(name string, sample int) float64 {
		if sample%3 == 1 {
			return 5e-3 // disturbed
		}
		return map[string]float64{"a": 1e-3, "b": 1e-5}[name]
	})
	m, err := f.measure(context.Background(), Options{}, f.made("a", 10, nil), f.made("b", 10, nil))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := f.log.String(), strings.Repeat("ab", rounds); got != want {
		t.Errorf("samples were taken as %s, want %s", got, want)
	}
	for i, want := range []float64{1e-3, 1e-5} {
		if got := m.Micro[i].Value; got < 0.999*want || got > 1.001*want {
			t.Errorf("median of %s is %g, want %g", m.Micro[i].Test, got, want)
		}
	}
	if f.held != 0 {
		t.Errorf("%d allocations and recordings were not given back", f.held)
	}
}

// Points that do not fit beside each other are measured one batch after another; one
// that never fits is left out, and the file says so.
func TestPointsThatDoNotFit(t *testing.T) {
	f := newFake(func(string, int) float64 { return 1e-4 })
	const half = 2 << 20 // of the memory for operands, about
	m, err := f.measure(context.Background(), Options{}, f.made("a", half, nil), f.made("x", 1<<40, nil), f.made("b", half, nil))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := f.log.String(), strings.Repeat("a", rounds)+strings.Repeat("b", rounds); got != want {
		t.Errorf("samples were taken as %s, want %s", got, want)
	}
	if got := factOf(m, "left out"); got != "1 of test: needs more memory than there is" {
		t.Errorf("the file says %q about what was left out", got)
	}
}

func factOf(m *calibrate.Measured, key string) string {
	for _, x := range m.Facts {
		if x.Key == key {
			return x.Value
		}
	}
	return ""
}

// A wrong result ends everything, whatever was measured before.
func TestWrongResultEndsTheRun(t *testing.T) {
	f := newFake(func(string, int) float64 { return 1e-4 })
	m, err := f.measure(context.Background(), Options{}, f.made("good", 10, nil), f.made("bad", 10, errors.New("number 3 is off")))
	if m != nil || err == nil || !strings.Contains(err.Error(), "test bad: number 3 is off") {
		t.Errorf("measured %v, error %v; want the error of the bad point alone", m, err)
	}
	if f.held != 0 {
		t.Errorf("%d allocations and recordings were not given back", f.held)
	}
}

// What a device cannot do is no error, but is counted.
func TestWhatADeviceCannotDoIsCounted(t *testing.T) {
	f := newFake(func(string, int) float64 { return 1e-4 })
	done := 0
	no := &device.Missing{What: "no such product"}
	m, err := f.measure(context.Background(), Options{Progress: func(d, total int) { done = d*10 + total }}, f.made("a", 10, no), f.made("b", 10, nil), f.made("c", 10, fmt.Errorf("wrapped: %w", no)))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Micro) != 1 || done != 33 {
		t.Errorf("%d points were measured and progress ended at %d; want 1 and 33", len(m.Micro), done)
	}
	if got, want := factOf(m, "left out"), "1 of test: no such product; 1 of test: wrapped: no such product"; got != want {
		t.Errorf("left out: %q, want %q", got, want)
	}
}

// An interrupt keeps whole batches, says so, and gives memory back.
func TestInterruptKeepsWholeBatches(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f := newFake(func(name string, sample int) float64 {
		if name == "b" && sample == 2 {
			cancel()
		}
		return 1e-4
	})
	const most = 3 << 20 // so that each is a batch of its own
	m, err := f.measure(ctx, Options{}, f.made("a", most, nil), f.made("b", most, nil))
	if !errors.Is(err, context.Canceled) || m == nil || len(m.Micro) != 1 {
		t.Fatalf("measured %+v, error %v; want point a and the context's error", m, err)
	}
	if got := factOf(m, "partial"); got != "interrupted after 1 of 2 points" {
		t.Errorf("partial: %q", got)
	}
	if f.held != 0 {
		t.Errorf("%d allocations and recordings were not given back", f.held)
	}
	path := filepath.Join(t.TempDir(), "partial.orrery")
	if err := m.Write(path); err != nil {
		t.Fatal(err)
	}
	if _, err := calibrate.ReadMeasurements(path); err != nil {
		t.Error(err)
	}
}

// Every column of a table is filled by the points of its operation, for one size at
// least, and no point is planned twice.
func TestPlanFillsItsTables(t *testing.T) {
	p, err := newPlanner(Imagined{}, &Options{})
	if err != nil {
		t.Fatal(err)
	}
	p.fabric = &pair{}
	groups, err := p.plan(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		if len(g.points) == 0 {
			t.Errorf("%s has no points", g.op)
		}
		seen := map[string]bool{}
		for _, pt := range g.points {
			if seen[pt.String()] {
				t.Errorf("%v is planned twice", pt)
			}
			seen[pt.String()] = true
		}
		o, ok := calibrate.FindOperator(g.op)
		if !ok {
			continue
		}
		m := &calibrate.Measured{Rows: map[string][]calibrate.Row{}}
		for _, pt := range g.points {
			pt.record(m, 1e-3)
		}
		for i, name := range o.Sizes {
			sum := 0.0
			for _, r := range m.Rows[g.op] {
				sum += r.Args[i]
			}
			if sum == 0 && name != "ph" {
				t.Errorf("%s: column %s is never filled", g.op, name)
			}
		}
		path := filepath.Join(t.TempDir(), g.op)
		if err := m.Write(path); err != nil {
			t.Fatal(err)
		}
		back, err := calibrate.ReadMeasurements(path)
		if err != nil {
			t.Error(err)
		} else if len(back.Rows[g.op])+len(back.Micro) != len(g.points) {
			t.Errorf("%s: %d rows of %d points were read back", g.op, len(back.Rows[g.op])+len(back.Micro), len(g.points))
		}
	}
}

// pair is two devices whose collectives go wrong as they are told.
type pair struct {
	checked map[string]int
	wrong   string
}

func (*pair) Devices() int { return 2 }
func (*pair) Link() string { return "pcie" }
func (*pair) Close() error { return nil }

func (*pair) Collective(name string, devices int, bytes int64, n int) (float64, error) {
	return float64(n) * (1e-5 + float64(bytes)*1e-10), nil
}

func (p *pair) Copy(bytes int64, n int) (float64, error) { return p.Collective("copy", 2, bytes, n) }

func (p *pair) Check(name string, devices int, bytes int64) error {
	p.checked[name]++
	if name == p.wrong {
		return errors.New("device 1 holds 2, should hold 3")
	}
	return nil
}

// Collectives are measured and checked like the rest.
func TestCollectives(t *testing.T) {
	f := newFake(nil)
	fabric := &pair{checked: map[string]int{}}
	p := &planner{lacks: f.Lacks, info: f.Info(), gpu: "fake", quick: true, fabric: fabric}
	points := p.transfers()
	m, err := measure(context.Background(), f, p, []group{{"comm", points}}, &Options{})
	if err != nil {
		t.Fatal(err)
	}
	checks := 0
	for _, name := range append(collectives, "copy") {
		if fabric.checked[name] == 0 {
			t.Errorf("%s was not checked", name)
		}
		checks += fabric.checked[name]
	}
	if checks != len(points) {
		t.Errorf("%d of %d points were checked", checks, len(points))
	}
	for _, r := range m.Rows["comm"] {
		if want := 1e-5 + r.Args[2]*1e-10; r.Seconds < 0.99*want || r.Seconds > 1.01*want {
			t.Errorf("%v of %g bytes takes %g s, want %g", r.Words, r.Args[2], r.Seconds, want)
		}
	}
	fabric.wrong = "all_gather"
	if m, err := measure(context.Background(), f, p, []group{{"comm", p.transfers()}}, &Options{}); m != nil || err == nil || !strings.Contains(err.Error(), "all_gather n=2 bytes=1024: device 1 holds 2") {
		t.Errorf("measured %v, error %v; want that of all_gather", m, err)
	}
}

// What is unknown is refused by name.
func TestUnknownOperation(t *testing.T) {
	if err := Known([]string{"gemm", "attention"}); err == nil || !strings.Contains(err.Error(), `"attention"`) {
		t.Errorf("error is %v", err)
	}
}

func TestBoardsAreNamedAsInMeasurementFiles(t *testing.T) {
	for name, want := range map[string]string{
		"NVIDIA A100-SXM4-80GB": "a100_sxm_80g", "NVIDIA H100 80GB HBM3": "h100_sxm", "NVIDIA GeForce RTX 2080 Ti": "rtx_2080ti", "Tesla T4": "t4",
		"NVIDIA L4": "l4", "NVIDIA L40S": "l40s", "NVIDIA GeForce RTX 4070 Ti": "geforce_rtx_4070_ti", "NVIDIA GeForce RTX 4090 Laptop GPU": "geforce_rtx_4090_laptop_gpu",
	} {
		if got := BoardName(name); got != want {
			t.Errorf("%s is named %s, want %s", name, got, want)
		}
	}
}

// A board without a profile describes itself well enough for a fit, and its peaks are
// not below what was measured.
func TestSheetOfAnUnknownBoard(t *testing.T) {
	f := newFake(nil)
	info := f.Info()
	m := &calibrate.Measured{Micro: []calibrate.Micro{{Test: "dram_bw", Value: 150}, {Test: "h2d_bw", Value: 12}}}
	m.Device = sheet(&info, BoardName(info.Name), m)
	d, err := m.DeviceOf()
	if err != nil {
		t.Fatal(err)
	}
	if d.SMs != 10 || d.FP32FLOPs != 2.56e12 || d.DRAMBytes != 150e9 {
		t.Errorf("the device is %+v", d)
	}
}
