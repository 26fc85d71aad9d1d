package diffusion

import (
	"fmt"
	"hash/fnv"
	"slices"
	"testing"
)

// Slices pass on the same data as the whole. Every tensor is given a symbol made of the
// operator that wrote it and the symbols of what that read; a piece has the symbol of the
// whole and the number of its slice. Pieces may meet only pieces of their own slice, and
// what is joined must be all pieces of one symbol, in order.
func TestSlicesPassOnTheSameData(t *testing.T) {
	for _, pipeline := range []string{"svd", "animatediff"} {
		stages, err := jobWith(t, pipeline, func(j *Job) { j.DecodeAtOnce = 2 }).Stages()
		if err != nil {
			t.Fatal(err)
		}
		seen := map[*Graph]bool{}
		for _, stage := range stages {
			if stage.Phase == Encode || seen[stage.Graph] {
				continue
			}
			seen[stage.Graph] = true
			for _, s := range []Streamlined{
				{Spatial: 7, Temporal: 7}, {Spatial: 2, Temporal: 3, Grouping: true}, {Spatial: 7, Temporal: 7, Grouping: true},
				{Spatial: 5, Temporal: 1, Grouping: true, Pipeline: true}, {Spatial: 1, Temporal: 8, Grouping: true, Pipeline: true},
			} {
				f := &symbols{from: stage.Graph, pieces: map[TensorID]int{}, runs: map[string]int{}, joined: map[uint64]int{}}
				if err := f.check(s.Slice(stage.Graph)); err != nil {
					t.Errorf("%s, %s, %s: %v", pipeline, stage.Name, s, err)
				}
			}
		}
	}
}

// symbols follow symbols through a sliced graph, beside those of the graph that it was made of.
type symbols struct {
	from   *Graph
	want   []uint64         // symbols of the tensors of from
	got    []uint64         // symbols of the tensors of the sliced graph
	pieces map[TensorID]int // the slices of those that are pieces
	runs   map[string]int   // slices that an operator has run in, by its name
	joined map[uint64]int   // pieces of a symbol that are in their places
}

// symbol returns that of what an operator writes.
func symbol(name string, reads []TensorID, of []uint64) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, name)
	for _, r := range reads {
		fmt.Fprint(h, " ", of[r])
	}
	return h.Sum64()
}

func (f *symbols) check(sliced *Graph) error {
	own := map[string]bool{}
	f.want = make([]uint64, len(f.from.Tensors))
	f.got = make([]uint64, len(sliced.Tensors))
	for i, t := range f.from.Inputs {
		f.want[t] = uint64(i) + 1
		f.got[t] = f.want[t]
	}
	for i := range f.from.Ops {
		op := &f.from.Ops[i]
		if own[op.Name] {
			return fmt.Errorf("two operators are called %s", op.Name)
		}
		own[op.Name] = true
		for _, w := range op.Writes {
			f.want[w] = symbol(op.Name, op.Reads, f.want)
		}
	}
	for i := range sliced.Ops {
		op := &sliced.Ops[i]
		step := f.run
		if !own[op.Name] {
			step = f.join
		}
		if err := step(op, sliced); err != nil {
			return fmt.Errorf("%s: %w", op.Name, err)
		}
	}
	for _, t := range f.from.Outputs {
		if f.got[t] != f.want[t] {
			return fmt.Errorf("%s is another", sliced.Tensors[t].Name)
		}
	}
	return f.complete()
}

// run follows an operator of the network, in one slice or whole.
func (f *symbols) run(op *Op, g *Graph) error {
	slice := f.runs[op.Name]
	f.runs[op.Name]++
	for _, r := range op.Reads {
		if p, ok := f.pieces[r]; ok && p != slice {
			return fmt.Errorf("slice %d reads of slice %d", slice, p)
		}
		if f.got[r] == 0 {
			return fmt.Errorf("reads what nothing wrote")
		}
	}
	for _, w := range op.Writes {
		f.got[w] = symbol(op.Name, op.Reads, f.got)
		if int(w) >= len(f.want) {
			f.pieces[w] = slice
		} else if f.got[w] != f.want[w] {
			return fmt.Errorf("writes another %s", g.Tensors[w].Name)
		}
	}
	return nil
}

// join follows an operator that puts pieces into their places, or makes those places.
func (f *symbols) join(op *Op, g *Graph) error {
	for _, w := range op.Writes {
		f.got[w] = f.want[w]
	}
	for _, r := range op.Reads {
		slice, ok := f.pieces[r]
		if s := f.got[r]; !ok || slice != f.joined[s] || len(op.Writes) > 0 && s != f.want[op.Writes[0]] {
			return fmt.Errorf("joins a piece out of turn")
		}
		f.joined[f.got[r]]++
	}
	return nil
}

// complete checks that what was joined was joined from all slices.
func (f *symbols) complete() error {
	for i := range f.from.Ops {
		op := &f.from.Ops[i]
		for _, w := range op.Writes {
			if n := f.joined[f.want[w]]; n > 0 && n != f.runs[op.Name] {
				return fmt.Errorf("%s: %d of %d pieces are joined", op.Name, n, f.runs[op.Name])
			}
		}
	}
	return nil
}

// Pieces are as large together as the whole, and grouping never raises the peak of what
// tensors need.
func TestGroupingNeverRaisesThePeak(t *testing.T) {
	for _, pipeline := range []string{"svd", "animatediff"} {
		stages, err := jobWith(t, pipeline, nil).Stages()
		if err != nil {
			t.Fatal(err)
		}
		for _, stage := range stages[len(stages)-2:] {
			whole := peakOf(stage.Graph)
			for n := 2; n <= 8; n++ {
				g := Streamlined{Spatial: n, Temporal: n, Grouping: true}.Slice(stage.Graph)
				if peak := peakOf(g); peak > whole {
					t.Errorf("%s, %s in %d slices: %d bytes, whole %d", pipeline, stage.Name, n, peak, whole)
				}
				for i := range g.Ops {
					if op := &g.Ops[i]; op.What == "cat" && len(op.Writes) == 1 && int(op.Reads[0]) >= len(stage.Graph.Tensors) && bytesOf(g, op.Reads) != bytesOf(g, op.Writes) {
						t.Errorf("%s, %s in %d slices: %s joins %d bytes to %d", pipeline, stage.Name, n, op.Name, bytesOf(g, op.Reads), bytesOf(g, op.Writes))
					}
				}
			}
		}
	}
}

// bytesOf returns the size of some tensors.
func bytesOf(g *Graph, ts []TensorID) int64 {
	var sum int64
	for _, t := range ts {
		sum += g.Tensors[t].Bytes()
	}
	return sum
}

// peakOf returns the most bytes that the tensors of one call take.
func peakOf(g *Graph) int64 {
	live := bytesOf(g, g.Inputs)
	peak := live
	for i := range g.Ops {
		live += bytesOf(g, g.Ops[i].Writes)
		peak = max(peak, live)
		live -= bytesOf(g, g.Ops[i].Free)
	}
	return peak
}

// Slices of uneven size, and more of them than there is to cut evenly, leave nothing out.
func TestUnevenSlices(t *testing.T) {
	b := NewBuilder("by hand", 2)
	x := b.Input("x", 5, 8, 6, 6)
	var y TensorID
	b.Along(Spatial, func() { y = b.Conv("conv", x, 8, 3, 1); y = b.Pointwise("silu", "silu", y) })
	g := Streamlined{Spatial: 3, Temporal: 1, Grouping: true}.Slice(b.Done(y))
	var sizes []int
	for i := range g.Ops {
		if op := &g.Ops[i]; op.Kind == Conv {
			sizes = append(sizes, g.Tensors[op.Writes[0]].N)
			if op.Conv.N != float64(sizes[len(sizes)-1]) {
				t.Errorf("a convolution of %g images writes %d", op.Conv.N, sizes[len(sizes)-1])
			}
		}
	}
	if !slices.Equal(sizes, []int{2, 2, 1}) {
		t.Errorf("5 images are cut into %v, want 2, 2 and 1", sizes)
	}
}

// The similarities that are assumed where there is no file have what the paper says of them,
// and lead to as many whole steps as it runs.
func TestDescribedSimilarity(t *testing.T) {
	m := DescribedSimilarity(25)
	for _, c := range []struct {
		i, j  int
		above bool
		than  float64
	}{{0, 13, true, 0.97}, {17, 19, false, 0.93}, {20, 22, true, 0.93}} {
		if (m[c.i][c.j] > c.than) != c.above || m[c.i][c.j] != m[c.j][c.i] {
			t.Errorf("steps %d and %d are alike by %.3f and %.3f", c.i, c.j, m[c.i][c.j], m[c.j][c.i])
		}
	}
	if keys := KeySteps(m, 0.98); len(keys) != 13 || keys[0] != 0 || keys[12] != 24 {
		t.Errorf("key steps %v, want 13 from 0 to 24", keys)
	}
	r, err := ParseMethod("rehash:0.98", nil)
	if err != nil {
		t.Fatal(err)
	}
	stages, err := jobWith(t, "svd", func(j *Job) { j.Steps = 25; j.Method.Rewrites = []Rewrite{r} }).Stages()
	if err != nil {
		t.Fatal(err)
	}
	cached := 0
	for _, s := range stages {
		if s.Name == "step, cached" {
			cached += s.Times
		}
	}
	if cached != 12 {
		t.Errorf("%d steps are rehashed, want 12", cached)
	}
}
