package hwmodel

import (
	"cmp"
	"fmt"
	"slices"
)

// The sizes by which PyTorch's allocator decides, from c10/cuda/CUDACachingAllocator
// of PyTorch 2.4, with its default settings: no limit to splitting, no garbage
// collection, segments that do not grow.
const (
	blockUnit    = 512      // sizes are rounded up to it
	smallBlock   = 1 << 20  // the largest request that the small pool serves
	smallSegment = 2 << 20  // what the small pool asks the driver for
	largeSegment = 20 << 20 // what the large pool asks for below wholeBlock
	wholeBlock   = 10 << 20 // from here a request gets a segment of its own size
	segmentUnit  = 2 << 20  // to which that size is rounded up
)

// CachingAllocator emulates the allocator that PyTorch keeps between tensors and the
// driver of a GPU. Memory is asked from the driver in segments, handed out in blocks by
// best fit, and not given back when a tensor dies: that is why a process holds more than
// its tensors need. Only when the driver refuses a segment are the wholly free ones
// given back, and the driver is asked once more.
//
// The zero value has no limit. It is not safe for concurrent use.
type CachingAllocator struct {
	capacity  int64 // bytes that the driver can give; 0 for no limit
	blocks    []block
	spare     []BlockID // unused places of blocks
	free      [2]pool   // large blocks, small blocks
	top       int64     // the address of the next segment
	asked     int64
	allocated int64
	reserved  int64
	peak      Usage
	retries   int
}

// Usage is memory as its different observers count it, in bytes.
type Usage struct {
	Live      int64 // what was asked for, as a sum over tensors
	Allocated int64 // the blocks that hold it
	Reserved  int64 // the segments that hold those, free blocks included
}

// BlockID names a block that is in use. 0 is the empty block of a request for no bytes.
type BlockID int32

// block is a piece of a segment. Neighbours are linked in order of address, and no two
// of them are both free.
type block struct {
	address, size int64
	asked         int64
	small, free   bool
	before, after BlockID // neighbours in the segment, 0 at its ends
}

// OutOfMemory is the error of an allocation that cannot be served.
type OutOfMemory struct {
	Asked    int64 // bytes
	Usage          // once the wholly free segments were given back
	Capacity int64 // bytes
}

func (e *OutOfMemory) Error() string {
	return fmt.Sprintf("out of memory: asked for %s with %s allocated and %s reserved of %s",
		mib(e.Asked), mib(e.Allocated), mib(e.Reserved), mib(e.Capacity))
}

func mib(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }

// NewCachingAllocator returns an allocator that may hold capacity bytes, or any number
// of them if it is 0.
func NewCachingAllocator(capacity int64) *CachingAllocator {
	return &CachingAllocator{capacity: capacity}
}

// Alloc returns a block of at least bytes bytes. The error is an [*OutOfMemory] when the
// capacity does not suffice even with every wholly free segment given back.
func (a *CachingAllocator) Alloc(bytes int64) (BlockID, error) {
	switch {
	case bytes < 0:
		panic(fmt.Sprintf("hwmodel: a block of %d bytes", bytes))
	case bytes == 0:
		return 0, nil
	}
	size := roundUp(bytes, blockUnit)
	small := size <= smallBlock
	id, ok := a.poolOf(small).take(size)
	if !ok {
		if id, ok = a.segment(segmentSize(size), small); !ok {
			return 0, &OutOfMemory{Asked: bytes, Usage: a.Usage(), Capacity: a.capacity}
		}
	}
	a.split(id, size)
	b := &a.blocks[id]
	b.free, b.asked = false, bytes
	a.asked += bytes
	a.allocated += b.size
	a.peak.Live = max(a.peak.Live, a.asked)
	a.peak.Allocated = max(a.peak.Allocated, a.allocated)
	return id, nil
}

// Free gives a block back to its pool, joined with the free blocks beside it.
func (a *CachingAllocator) Free(id BlockID) {
	if id == 0 {
		return
	}
	b := a.blocks[id]
	if b.free || b.size == 0 {
		panic(fmt.Sprintf("hwmodel: block %d is freed twice", id))
	}
	a.asked -= b.asked
	a.allocated -= b.size
	a.blocks[id].free, a.blocks[id].asked = true, 0
	if b.before != 0 && a.blocks[b.before].free {
		id = a.join(b.before, id, b.before)
	}
	if after := a.blocks[id].after; after != 0 && a.blocks[after].free {
		id = a.join(id, after, after)
	}
	a.put(id)
}

// Release gives all wholly free segments back to the driver, as
// torch.cuda.empty_cache does, and returns how many bytes they were.
func (a *CachingAllocator) Release() int64 {
	was := a.reserved
	for i := range a.free {
		a.free[i] = slices.DeleteFunc(a.free[i], func(f freeBlock) bool {
			b := &a.blocks[f.id]
			if b.before != 0 || b.after != 0 {
				return false
			}
			a.reserved -= b.size
			a.drop(f.id)
			return true
		})
	}
	return was - a.reserved
}

// Usage returns what is held now.
func (a *CachingAllocator) Usage() Usage { return Usage{a.asked, a.allocated, a.reserved} }

// Peak returns the most that was held of each, not necessarily at the same moment.
func (a *CachingAllocator) Peak() Usage { return a.peak }

// Allocated returns the bytes of the blocks in use.
func (a *CachingAllocator) Allocated() int64 { return a.allocated }

// Reserved returns the bytes that the driver has given.
func (a *CachingAllocator) Reserved() int64 { return a.reserved }

// Retries returns how often the driver refused a segment, so that the cache was given
// back and the driver asked again: 0 for a run that had room for all that it ever cached.
func (a *CachingAllocator) Retries() int { return a.retries }

// Gap is a free block.
type Gap struct {
	Size         int64
	Small, Whole bool // of the small pool; a segment of its own
}

// Gaps returns the free blocks in order of address. They are all that decides how the
// allocator serves what comes next: a program that finds the gaps of an earlier moment
// again, with the same blocks in use, will do again what it did then.
func (a *CachingAllocator) Gaps() []Gap {
	all := slices.Concat(a.free[0], a.free[1])
	slices.SortFunc(all, func(f, g freeBlock) int { return cmp.Compare(f.address, g.address) })
	gaps := make([]Gap, len(all))
	for i, f := range all {
		b := &a.blocks[f.id]
		gaps[i] = Gap{b.size, b.small, b.before == 0 && b.after == 0}
	}
	return gaps
}

// segment asks the driver for a segment of size bytes, which becomes one free block that
// stands in no pool yet.
func (a *CachingAllocator) segment(size int64, small bool) (BlockID, bool) {
	if !a.fits(size) {
		a.retries++
		a.Release()
		if !a.fits(size) {
			return 0, false
		}
	}
	a.reserved += size
	a.peak.Reserved = max(a.peak.Reserved, a.reserved)
	id := a.add(block{address: a.top, size: size, small: small, free: true})
	a.top += size
	return id, true
}

func (a *CachingAllocator) fits(size int64) bool {
	return a.capacity == 0 || size <= a.capacity-a.reserved
}

// split cuts a free block that stands in no pool to size bytes and puts the rest into
// the pool, unless the rest is too small to be worth a block.
func (a *CachingAllocator) split(id BlockID, size int64) {
	b := a.blocks[id]
	rest := b.size - size
	if b.small && rest < blockUnit || !b.small && rest <= smallBlock {
		return
	}
	tail := a.add(block{address: b.address + size, size: rest, small: b.small, free: true, before: id, after: b.after})
	if b.after != 0 {
		a.blocks[b.after].before = tail
	}
	a.blocks[id].size, a.blocks[id].after = size, tail
	a.put(tail)
}

// join makes one block of two neighbours, of which the one called pooled stands in its
// pool and leaves it. It returns the first.
func (a *CachingAllocator) join(first, second, pooled BlockID) BlockID {
	p := &a.blocks[pooled]
	a.poolOf(p.small).remove(freeBlock{p.size, p.address, pooled})
	f, s := &a.blocks[first], &a.blocks[second]
	f.size += s.size
	f.after = s.after
	if s.after != 0 {
		a.blocks[s.after].before = first
	}
	a.drop(second)
	return first
}

// add stores a block and returns its name; drop forgets it.
func (a *CachingAllocator) add(b block) BlockID {
	if n := len(a.spare); n > 0 {
		id := a.spare[n-1]
		a.spare = a.spare[:n-1]
		a.blocks[id] = b
		return id
	}
	if len(a.blocks) == 0 {
		a.blocks = append(a.blocks, block{}) // 0 names no block
	}
	a.blocks = append(a.blocks, b)
	return BlockID(len(a.blocks) - 1)
}

func (a *CachingAllocator) drop(id BlockID) {
	a.blocks[id] = block{}
	a.spare = append(a.spare, id)
}

func (a *CachingAllocator) put(id BlockID) {
	b := &a.blocks[id]
	a.poolOf(b.small).insert(freeBlock{b.size, b.address, id})
}

func (a *CachingAllocator) poolOf(small bool) *pool {
	if small {
		return &a.free[1]
	}
	return &a.free[0]
}

// pool holds free blocks by size, and by address among equals, so that the first that
// is large enough fits best. A run of a network has some hundred free blocks at most,
// among which a sorted slice is faster than a tree.
type pool []freeBlock

type freeBlock struct {
	size, address int64
	id            BlockID
}

func (f freeBlock) compare(g freeBlock) int {
	return cmp.Or(cmp.Compare(f.size, g.size), cmp.Compare(f.address, g.address))
}

// take removes the smallest block of at least size bytes.
func (p *pool) take(size int64) (BlockID, bool) {
	i, _ := slices.BinarySearchFunc(*p, freeBlock{size: size}, freeBlock.compare)
	if i == len(*p) {
		return 0, false
	}
	id := (*p)[i].id
	*p = slices.Delete(*p, i, i+1)
	return id, true
}

func (p *pool) insert(f freeBlock) {
	i, _ := slices.BinarySearchFunc(*p, f, freeBlock.compare)
	*p = slices.Insert(*p, i, f)
}

func (p *pool) remove(f freeBlock) {
	i, found := slices.BinarySearchFunc(*p, f, freeBlock.compare)
	if !found {
		panic(fmt.Sprintf("hwmodel: free block %d is in no pool", f.id))
	}
	*p = slices.Delete(*p, i, i+1)
}

// segmentSize returns how much the driver is asked for to serve a block of size bytes.
func segmentSize(size int64) int64 {
	switch {
	case size <= smallBlock:
		return smallSegment
	case size < wholeBlock:
		return largeSegment
	default:
		return roundUp(size, segmentUnit)
	}
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }
