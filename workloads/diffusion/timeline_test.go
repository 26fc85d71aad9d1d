package diffusion

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"orrery/hwmodel"
)

const mebi = int64(1) << 20

// levels is a decoder in small: at every level two convolutions with a norm between
// them, around which the input lives on, and then four times the positions.
func levels(images, size, channels, depth int) *Graph {
	b := NewBuilder("levels", 2)
	x := b.Input("latents", images, channels, size, size)
	for i := range depth {
		b.Scope(fmt.Sprintf("up%d", i), func() {
			n := b.GroupNorm("norm", x, 8)
			c := b.Conv("conv", n, channels, 3, 1)
			x = b.Pointwise("residual", "add", x, c)
			t := b.Shape(x)
			x = b.Add(Op{Name: "upsample", Kind: Elementwise, What: "upsample"}, t.N, t.C, 2*t.H, 2*t.W, x)
			x = b.Conv("upconv", x, channels, 3, 1)
		})
	}
	return b.Done(x)
}

func follow(t testing.TB, f *Footprint, o MemoryOptions) *MemoryRun {
	t.Helper()
	r, err := f.Follow(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A residual block whose tensors are of 32 MiB each, by hand.
func TestTimelineByHand(t *testing.T) {
	b := NewBuilder("block", 2)
	x := b.Input("x", 1, 64, 512, 512)
	n := b.GroupNorm("norm", x, 8)
	c := b.Conv("conv", n, 64, 3, 1)
	y := b.Pointwise("residual", "add", x, c)
	g := b.Done(y)
	f := &Footprint{
		Modules: []Module{{"block", []int64{3 * mebi, 3 * mebi}, 2}}, // 6 MiB each, of one segment of 20
		Calls:   []Calls{{"step", g, 3, false}},
	}
	r := follow(t, f, MemoryOptions{Outside: 5 * mebi})
	operands := 64 * float64(mebi)
	workspace := int64(workspaceShare * operands) // in whole blocks and segments
	block, segment := (workspace+511)/512*512, (workspace+2*mebi-1)/(2*mebi)*(2*mebi)
	want := []hwmodel.Usage{
		{Live: 76 * mebi, Allocated: 76 * mebi, Reserved: 84 * mebi},                            // x and what the norm writes
		{Live: 108*mebi + workspace, Allocated: 108*mebi + block, Reserved: 116*mebi + segment}, // and the result, and the workspace
		{Live: 108 * mebi, Allocated: 108 * mebi, Reserved: 116*mebi + segment},                 // x, the convolution's and the sum, where the norm's was
	}
	for i, w := range want {
		if got := r.Points[i]; got.Usage != w || got.Op != i {
			t.Errorf("%s: got %+v, want %+v", g.Ops[i].Name, got.Usage, w)
		}
	}
	if r.Peak.Live != (MemoryPeak{108*mebi + workspace, "step", "conv"}) || r.Peak.Reserved != (MemoryPeak{116*mebi + segment, "step", "conv"}) {
		t.Errorf("peaks %+v", r.Peak)
	}
	if r.Device() != 121*mebi+segment || r.Weights != 12*mebi || r.Stages[0].Traced != 2 || r.Ops != 6 {
		t.Errorf("device %d, weights %d, %+v", r.Device(), r.Weights, r.Stages)
	}
}

// The live set is what a reader of the graph would count, whatever the allocator does.
func TestLiveIsTheSumOfWhatLives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := NewBuilder("any", 2)
		made := []TensorID{b.Input("x", rapid.IntRange(1, 4).Draw(t, "n"), 32, 64, 64)}
		for i := range rapid.IntRange(1, 40).Draw(t, "ops") {
			x := made[rapid.IntRange(max(0, len(made)-6), len(made)-1).Draw(t, "reads")]
			name := fmt.Sprint("op", i)
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				made = append(made, b.Conv(name, x, 8*rapid.IntRange(1, 16).Draw(t, "out"), 3, 1))
			case 1:
				made = append(made, b.GroupNorm(name, x, 8))
			case 2:
				s := b.Shape(x)
				made = append(made, b.Add(Op{Name: name, What: "view", Kernels: -1}, s.N, s.C, s.H*s.W, 1, x))
			default:
				made = append(made, b.Pointwise(name, "silu", x))
			}
		}
		g := b.Done(made[len(made)-1])
		f := &Footprint{Calls: []Calls{{"step", g, 1, false}}}
		r, err := f.Follow(MemoryOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := len(r.Points), len(g.Ops); got != want {
			t.Fatalf("%d points for %d operators", got, want)
		}
		for i, want := range liveSets(g) {
			u := r.Points[i].Usage
			if u.Live != want || u.Live > u.Allocated || u.Allocated > u.Reserved {
				t.Fatalf("%s: %+v, want %d live", g.Ops[i].Name, u, want)
			}
		}
	})
}

// liveSets counts the bytes that are live at each operator, from the graph alone.
func liveSets(g *Graph) []int64 {
	storage := map[TensorID]TensorID{} // of a view: what it views
	root := func(t TensorID) TensorID {
		for {
			of, ok := storage[t]
			if !ok {
				return t
			}
			t = of
		}
	}
	alive := slices.Clone(g.Inputs)
	sizes := make([]int64, len(g.Ops))
	for i, op := range g.Ops {
		if op.What == "view" {
			storage[op.Writes[0]] = op.Reads[0]
		}
		alive = append(alive, op.Writes...)
		var stores []TensorID
		for _, t := range alive {
			if r := root(t); !slices.Contains(stores, r) {
				stores = append(stores, r)
				sizes[i] += g.Tensors[r].Bytes()
			}
		}
		if op.Kind == Conv {
			sizes[i] += int64(workspaceShare * float64(g.Tensors[op.Reads[0]].Bytes()+g.Tensors[op.Writes[0]].Bytes()))
		}
		alive = slices.DeleteFunc(alive, func(t TensorID) bool { return slices.Contains(op.Free, t) })
	}
	return sizes
}

// Calls that are not followed would have done what the followed ones did.
func TestRepeatedCallsAreFollowedOnce(t *testing.T) {
	g := levels(2, 16, 64, 4)
	once := &Footprint{Calls: []Calls{{"step", g, 25, false}}}
	each := &Footprint{Calls: slices.Repeat([]Calls{{"step", g, 1, false}}, 25)}
	for _, capacity := range []int64{0, 80 * mebi} {
		o := MemoryOptions{Capacity: capacity}
		a, b := follow(t, once, o), follow(t, each, o)
		if a.Peak != b.Peak {
			t.Errorf("in %d bytes: %+v, but call by call %+v", capacity, a.Peak, b.Peak)
		}
		if s := a.Stages[0]; s.Traced >= s.Times {
			t.Errorf("all %d calls were followed", s.Traced)
		}
	}
}

// A decoder that takes one image at a time needs little more than for one image: what
// it has made, twice while that is joined.
func TestKeptResultsAreJoined(t *testing.T) {
	one, all := levels(1, 16, 64, 4), levels(8, 16, 64, 4)
	image := one.Tensors[one.Outputs[0]].Bytes()
	single := follow(t, &Footprint{Calls: []Calls{{"decoder", one, 1, true}}}, MemoryOptions{})
	sliced := follow(t, &Footprint{Calls: []Calls{{"decoder", one, 8, true}}}, MemoryOptions{})
	rest := follow(t, &Footprint{Calls: []Calls{{"decoder", levels(3, 16, 64, 4), 2, true}, {"decoder", levels(2, 16, 64, 4), 1, true}}}, MemoryOptions{})
	whole := follow(t, &Footprint{Calls: []Calls{{"decoder", all, 1, true}}}, MemoryOptions{})
	if got, want := sliced.Peak.Live.Bytes, max(single.Peak.Live.Bytes+7*image, 16*image); got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
	for _, r := range []*MemoryRun{sliced, rest} {
		if last := r.Points[len(r.Points)-1].Live; last != 16*image {
			t.Errorf("joining holds %d bytes, want twice 8 images of %d", last, image)
		}
	}
	if d := whole.Peak.Live.Bytes - 8*single.Peak.Live.Bytes; d < 0 || d >= 8 { // the share of workspace is rounded
		t.Errorf("%d bytes for 8 images at once, %d for one", whole.Peak.Live.Bytes, single.Peak.Live.Bytes)
	}
}

// On a card with room for all that is cached, a run runs; with less, only after freeing;
// below what it needs, not at all, and the error says where.
func TestFitHasThreeAnswers(t *testing.T) {
	f := &Footprint{
		Modules: []Module{{"levels", []int64{4 * mebi}, 2}},
		Calls:   []Calls{{"decoder", levels(2, 32, 64, 4), 1, true}},
	}
	const outside = 100 * mebi
	free := follow(t, f, MemoryOptions{Outside: outside})
	least := f.Smallest(free)
	if least >= free.Device() || least < free.Weights+outside {
		t.Fatalf("smallest card %d, device %d", least, free.Device())
	}
	for _, c := range []struct {
		memory int64
		want   Fit
	}{
		{free.Device(), Runs}, {free.Device() - 1, RunsAfterFreeing}, {least, RunsAfterFreeing},
		{least - 2*mebi, DoesNotRun}, {outside, DoesNotRun},
	} {
		fit, r, err := f.On(c.memory, free)
		if fit != c.want || (r == nil) != (fit == DoesNotRun) || (err == nil) != (r != nil) {
			t.Errorf("%d bytes: %s, %v, want %s", c.memory, fit, err, c.want)
		}
		if fit == RunsAfterFreeing && (r.Retries == 0 || r.Device() > c.memory) {
			t.Errorf("%d bytes: %d retries, %d held", c.memory, r.Retries, r.Device())
		}
		var oom *hwmodel.OutOfMemory
		if fit == DoesNotRun && !errors.As(err, &oom) {
			t.Errorf("%d bytes: %v", c.memory, err)
		}
	}
}

// A long series keeps its peaks.
func TestThinnedSeriesKeepsPeaks(t *testing.T) {
	f := &Footprint{Calls: []Calls{{"decoder", levels(1, 16, 64, 5), 20, true}}}
	all, few := follow(t, f, MemoryOptions{}), follow(t, f, MemoryOptions{Points: 16})
	if len(all.Points) != all.Ops || len(few.Points) != 16 || few.Peak != all.Peak {
		t.Fatalf("%d and %d points of %d operators", len(all.Points), len(few.Points), all.Ops)
	}
	most := slices.MaxFunc(few.Points, func(a, b MemoryPoint) int { return int(a.Live - b.Live) })
	if most.Live != all.Peak.Live.Bytes {
		t.Errorf("thinned to %d, peak %d", most.Live, all.Peak.Live.Bytes)
	}
}
