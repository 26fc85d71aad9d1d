package hwmodel

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

const kib, mebi = int64(1) << 10, int64(1) << 20

// The rules one after the other, worked by hand.
func TestCachingAllocatorByHand(t *testing.T) {
	a := NewCachingAllocator(64 * mebi)
	held := map[string]BlockID{}
	alloc := func(name string, bytes int64) {
		id, err := a.Alloc(bytes)
		if err != nil {
			t.Fatal(err)
		}
		held[name] = id
	}
	for _, step := range []struct {
		why  string
		do   func()
		want Usage
	}{
		{"one byte takes 512 of a segment of 2 MiB", func() { alloc("a", 1) }, Usage{1, 512, 2 * mebi}},
		{"the rest of it serves the next small one", func() { alloc("b", 512*kib) }, Usage{1 + 512*kib, 512 + 512*kib, 2 * mebi}},
		{"1 MiB fits in what remains too", func() { alloc("c", mebi) }, Usage{1 + 1536*kib, 512 + 1536*kib, 2 * mebi}},
		{"a byte more is large: 20 MiB", func() { alloc("d", mebi+1) }, Usage{2 + 2560*kib, 1024 + 2560*kib, 22 * mebi}},
		{"18 MiB come out of the same segment, and the last MiB is not worth a block", func() { alloc("e", 18*mebi-512) },
			Usage{2 + 2560*kib + 18*mebi - 512, 512 + 2560*kib + 19*mebi, 22 * mebi}},
		{"11 MiB get a segment of 12, of which 1 MiB sticks to them", func() { alloc("f", 11*mebi) },
			Usage{2 + 2560*kib + 29*mebi - 512, 512 + 2560*kib + 31*mebi, 34 * mebi}},
		{"what dies stays reserved", func() { a.Free(held["e"]); a.Free(held["f"]) },
			Usage{2 + 2560*kib, 1024 + 2560*kib, 34 * mebi}},
		{"best fit: 12 MiB go where 12 were, not where 18 were", func() { alloc("g", 12*mebi) },
			Usage{2 + 2560*kib + 12*mebi, 1024 + 2560*kib + 12*mebi, 34 * mebi}},
		{"freed neighbours join, so that 20 MiB are whole again", func() { a.Free(held["d"]); alloc("h", 20*mebi) },
			Usage{1 + 1536*kib + 32*mebi, 512 + 1536*kib + 32*mebi, 34 * mebi}},
	} {
		step.do()
		if got := a.Usage(); got != step.want {
			t.Fatalf("%s: got %+v, want %+v", step.why, got, step.want)
		}
	}
	if a.Retries() != 0 {
		t.Errorf("%d retries with room for all", a.Retries())
	}
	a.Free(held["h"])
	alloc("i", 44*mebi) // the 20 MiB have to go back first: 64 - 2 - 12 - 20 = 30
	if got := a.Reserved(); got != 58*mebi || a.Retries() != 1 {
		t.Errorf("%d bytes reserved after %d retries, want 58 MiB after one", got, a.Retries())
	}
	_, err := a.Alloc(10 * mebi)
	var oom *OutOfMemory
	if !errors.As(err, &oom) {
		t.Fatalf("got %v, want an OutOfMemory", err)
	}
	if want := "out of memory: asked for 10.0 MiB with 57.5 MiB allocated and 58.0 MiB reserved of 64.0 MiB"; err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	if a.Peak().Reserved != 58*mebi {
		t.Errorf("the peak is %+v", a.Peak())
	}
}

// plainAllocator is the same allocator as plainly as it can be written: a list of
// segments, each a list of blocks, all searched from the start.
type plainAllocator struct {
	capacity int64
	segments []*plainSegment
	next     int
}

type plainSegment struct {
	small  bool
	blocks []plainBlock
}

type plainBlock struct {
	size int64
	name int // 0: free
}

func (p *plainAllocator) find(size int64, small bool) (*plainSegment, int) {
	var best *plainSegment
	at := 0
	for _, s := range p.segments {
		for i, b := range s.blocks {
			if s.small == small && b.name == 0 && b.size >= size && (best == nil || b.size < best.blocks[at].size) {
				best, at = s, i
			}
		}
	}
	return best, at
}

func (p *plainAllocator) reserved() (sum int64) {
	for _, s := range p.segments {
		for _, b := range s.blocks {
			sum += b.size
		}
	}
	return sum
}

func (p *plainAllocator) alloc(bytes int64) (int, bool) {
	size := (bytes + 511) / 512 * 512
	small := size <= mebi
	s, i := p.find(size, small)
	if s == nil {
		want := 2 * mebi
		if !small && size < 10*mebi {
			want = 20 * mebi
		} else if !small {
			want = (size + 2*mebi - 1) / (2 * mebi) * (2 * mebi)
		}
		if p.reserved()+want > p.capacity {
			p.segments = slices.DeleteFunc(p.segments, func(s *plainSegment) bool { return len(s.blocks) == 1 && s.blocks[0].name == 0 })
		}
		if p.reserved()+want > p.capacity {
			return 0, false
		}
		s, i = &plainSegment{small, []plainBlock{{size: want}}}, 0
		p.segments = append(p.segments, s)
	}
	p.next++
	s.blocks[i].name = p.next
	if rest := s.blocks[i].size - size; small && rest >= 512 || !small && rest > mebi {
		s.blocks[i].size = size
		s.blocks = slices.Insert(s.blocks, i+1, plainBlock{size: rest})
	}
	return p.next, true
}

func (p *plainAllocator) release(name int) {
	for _, s := range p.segments {
		for i := range s.blocks {
			if s.blocks[i].name != name {
				continue
			}
			s.blocks[i].name = 0
			joined := s.blocks[:0:0]
			for _, b := range s.blocks {
				if n := len(joined); n > 0 && b.name == 0 && joined[n-1].name == 0 {
					joined[n-1].size += b.size
					continue
				}
				joined = append(joined, b)
			}
			s.blocks = joined
			return
		}
	}
}

// sizes returns the sizes of all blocks in order of address, free ones negative.
func (p *plainAllocator) sizes() (all []int64) {
	for _, s := range p.segments {
		for _, b := range s.blocks {
			if b.name == 0 {
				b.size = -b.size
			}
			all = append(all, b.size)
		}
	}
	return all
}

// check returns the blocks of a as sizes in order of address, free ones negative, and an
// error where a law is broken: no overlap, no gap within a segment, no free neighbours,
// every free block in its pool, and sums that are what the counters say.
func (a *CachingAllocator) check() ([]int64, error) {
	var live []BlockID
	for id := 1; id < len(a.blocks); id++ {
		if a.blocks[id].size > 0 {
			live = append(live, BlockID(id))
		}
	}
	slices.SortFunc(live, func(x, y BlockID) int { return int(a.blocks[x].address - a.blocks[y].address) })
	var sizes []int64
	var end, allocated, reserved, asked int64
	free := 0
	for _, id := range live {
		b := a.blocks[id]
		if b.address < end {
			return nil, fmt.Errorf("block %d overlaps the one before it", id)
		}
		end = b.address + b.size
		if b.after != 0 && (a.blocks[b.after].address != end || a.blocks[b.after].before != id) {
			return nil, fmt.Errorf("block %d does not touch its neighbour", id)
		}
		if b.after != 0 && b.free && a.blocks[b.after].free {
			return nil, fmt.Errorf("block %d and its neighbour are both free", id)
		}
		reserved += b.size
		size := b.size
		if b.free {
			free++
			size = -size
			if _, ok := slices.BinarySearchFunc(*a.poolOf(b.small), freeBlock{b.size, b.address, id}, freeBlock.compare); !ok {
				return nil, fmt.Errorf("free block %d is in no pool", id)
			}
		} else {
			allocated += b.size
			asked += b.asked
		}
		sizes = append(sizes, size)
	}
	gaps := slices.DeleteFunc(slices.Clone(sizes), func(size int64) bool { return size > 0 })
	if !slices.EqualFunc(a.Gaps(), gaps, func(g Gap, size int64) bool { return g.Size == -size }) {
		return nil, fmt.Errorf("gaps %v, want %v", a.Gaps(), gaps)
	}
	if want := (Usage{asked, allocated, reserved}); a.Usage() != want || free != len(a.free[0])+len(a.free[1]) {
		return nil, fmt.Errorf("counters %+v and %d pooled blocks, want %+v and %d", a.Usage(), len(a.free[0])+len(a.free[1]), want, free)
	}
	return sizes, nil
}

// Whatever is asked and freed, the allocator does block for block what the plain one
// does, and breaks no law on the way.
func TestCachingAllocatorIsThePlainOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity := rapid.Int64Range(20, 400).Draw(t, "capacity MiB") * mebi
		a, p := NewCachingAllocator(capacity), &plainAllocator{capacity: capacity}
		type pair struct {
			id   BlockID
			name int
		}
		var held []pair
		bytes := rapid.OneOf(rapid.Int64Range(1, 4*kib), rapid.Int64Range(1, 3*mebi), rapid.Int64Range(mebi, 60*mebi))
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			if len(held) > 0 && rapid.IntRange(0, 4).Draw(t, "free") < 2 {
				i := rapid.IntRange(0, len(held)-1).Draw(t, "which")
				a.Free(held[i].id)
				p.release(held[i].name)
				held = slices.Delete(held, i, i+1)
			} else {
				n := bytes.Draw(t, "bytes")
				id, err := a.Alloc(n)
				name, ok := p.alloc(n)
				if ok != (err == nil) {
					t.Fatalf("%d bytes: %v, but plainly %v", n, err, ok)
				}
				if ok {
					held = append(held, pair{id, name})
				}
			}
			sizes, err := a.check()
			if err != nil {
				t.Fatal(err)
			}
			if want := p.sizes(); !slices.Equal(sizes, want) {
				t.Fatalf("blocks %v, but plainly %v", sizes, want)
			}
			u := a.Usage()
			if u.Live > u.Allocated || u.Allocated > u.Reserved || u.Reserved > capacity {
				t.Fatalf("%+v within %d", u, capacity)
			}
		}
		for _, h := range held {
			a.Free(h.id)
		}
		segments := a.Reserved()
		if a.Allocated() != 0 || a.Release() != segments || a.Reserved() != 0 {
			t.Fatalf("with all freed, %+v remain", a.Usage())
		}
	})
}

// Nothing is nothing, and what makes no sense is refused loudly.
func TestCachingAllocatorEdges(t *testing.T) {
	a := NewCachingAllocator(0)
	id, err := a.Alloc(0)
	if a.Free(id); err != nil || a.Usage() != (Usage{}) {
		t.Errorf("no bytes: %v, %+v", err, a.Usage())
	}
	if _, err := a.Alloc(1 << 50); err != nil {
		t.Errorf("without a limit: %v", err)
	}
	for name, do := range map[string]func(){
		"negative size": func() { a.Alloc(-1) },
		"double free":   func() { id, _ := a.Alloc(1); a.Free(id); a.Free(id) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("passed")
				}
			}()
			do()
		})
	}
}

// Ten thousand tensors of a network's sizes, some hundred alive at a time.
func BenchmarkCachingAllocator(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	sizes := make([]int64, 10_000)
	for i := range sizes {
		sizes[i] = 1 + r.Int64N(1<<(10+r.IntN(18)))
	}
	for b.Loop() {
		a := NewCachingAllocator(0)
		var ring [200]BlockID
		for i, n := range sizes {
			a.Free(ring[i%200])
			ring[i%200], _ = a.Alloc(n)
		}
	}
}
