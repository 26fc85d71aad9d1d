package route

import "orrery/workloads"

// PrefixIndex is a router's guess at what the prefix caches of the replicas hold: the
// parts of the prompts that it sent there, the least recently used ones forgotten.
// Replicas do not tell it what they really hold, as in llm-d's approximate prefix
// scorer and SGLang's cache-aware router. The zero value, with Parts set, is ready.
type PrefixIndex struct {
	// Parts is how many parts are remembered of each replica, 0 for any number.
	Parts int

	copies  []partCopy
	free    []int32
	at      map[copyKey]int32 // index in copies
	holders map[uint64]int32  // first copy of a part, a list through the others
	recent  []lru             // of each replica
	asked   uint64            // number of the present question
}

// partCopy says that a replica may hold a part.
type partCopy struct {
	copyKey
	older, newer   int32 // copies of the same replica, by use
	before, behind int32 // copies of the same part
}

type copyKey struct {
	part    uint64
	replica int32
}

// lru is the list of the copies of one replica.
type lru struct {
	oldest, newest int32
	n              int
	asked          uint64 // number of the last question that it was an answer to
}

const nobody = -1

// parts returns the names of the whole parts of a prompt.
func parts(r *workloads.Request) []uint64 {
	if r.PrefixBlock <= 0 {
		return nil
	}
	return r.Prefix[:min(len(r.Prefix), int(r.Prompt/r.PrefixBlock))]
}

// Add notes that a prompt of these parts goes to a replica. The beginning counts as
// used last: it is what others share, and a cache that drops it cannot use the rest.
func (x *PrefixIndex) Add(replica int, parts []uint64) {
	if x.at == nil {
		x.at = map[copyKey]int32{}
		x.holders = map[uint64]int32{}
	}
	for len(x.recent) <= replica {
		x.recent = append(x.recent, lru{oldest: nobody, newest: nobody})
	}
	l := &x.recent[replica]
	for k := len(parts) - 1; k >= 0; k-- {
		key := copyKey{parts[k], int32(replica)}
		i, ok := x.at[key]
		if ok {
			x.unlink(l, i)
		} else {
			i = x.copy(key)
		}
		x.link(l, i)
	}
	for x.Parts > 0 && l.n > x.Parts {
		x.drop(l, l.oldest)
	}
}

// Deepest returns how many leading parts of a prompt some replica that will do may hold,
// 0 if fewer than least, and has told will of each replica that may hold so many. It
// looks from the end of the prompt, for who holds a part holds those before it.
func (x *PrefixIndex) Deepest(parts []uint64, least int, will func(replica int) bool) int {
	for n := len(parts); n >= max(least, 1); n-- {
		found := false
		for i := x.holder(parts[n-1]); i != nobody; i = x.copies[i].behind {
			found = will(int(x.copies[i].replica)) || found
		}
		if found {
			return n
		}
	}
	return 0
}

// Matched calls each for every replica that may hold leading parts of a prompt, once,
// with their number.
func (x *PrefixIndex) Matched(parts []uint64, each func(replica, n int)) {
	x.asked++
	for n := len(parts); n > 0; n-- {
		for i := x.holder(parts[n-1]); i != nobody; i = x.copies[i].behind {
			k := x.copies[i].replica
			if x.recent[k].asked != x.asked {
				x.recent[k].asked = x.asked
				each(int(k), n)
			}
		}
	}
}

// holder returns the first copy of a part.
func (x *PrefixIndex) holder(part uint64) int32 {
	if i, ok := x.holders[part]; ok {
		return i
	}
	return nobody
}

// Forget drops what is known of a replica, whose cache is lost.
func (x *PrefixIndex) Forget(replica int) {
	if replica >= len(x.recent) {
		return
	}
	for l := &x.recent[replica]; l.n > 0; {
		x.drop(l, l.oldest)
	}
}

// copy returns a new copy, known as one of its part's, not yet among its replica's.
func (x *PrefixIndex) copy(key copyKey) int32 {
	var i int32
	if k := len(x.free); k > 0 {
		i = x.free[k-1]
		x.free = x.free[:k-1]
	} else {
		i = int32(len(x.copies))
		x.copies = append(x.copies, partCopy{})
	}
	behind := x.holder(key.part)
	if behind != nobody {
		x.copies[behind].before = i
	}
	x.copies[i] = partCopy{copyKey: key, before: nobody, behind: behind}
	x.holders[key.part] = i
	x.at[key] = i
	return i
}

// link makes a copy the newest of its replica.
func (x *PrefixIndex) link(l *lru, i int32) {
	x.copies[i].older, x.copies[i].newer = l.newest, nobody
	if l.newest == nobody {
		l.oldest = i
	} else {
		x.copies[l.newest].newer = i
	}
	l.newest = i
	l.n++
}

func (x *PrefixIndex) unlink(l *lru, i int32) {
	c := &x.copies[i]
	if c.older == nobody {
		l.oldest = c.newer
	} else {
		x.copies[c.older].newer = c.newer
	}
	if c.newer == nobody {
		l.newest = c.older
	} else {
		x.copies[c.newer].older = c.older
	}
	l.n--
}

func (x *PrefixIndex) drop(l *lru, i int32) {
	x.unlink(l, i)
	c := &x.copies[i]
	switch {
	case c.before != nobody:
		x.copies[c.before].behind = c.behind
	case c.behind != nobody:
		x.holders[c.part] = c.behind
	default:
		delete(x.holders, c.part)
	}
	if c.behind != nobody {
		x.copies[c.behind].before = c.before
	}
	delete(x.at, c.copyKey)
	x.free = append(x.free, i)
}
