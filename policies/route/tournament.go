package route

import "math"

// tournament finds the member with the least key, the first among equals, in constant
// time, and takes a change of one key in the logarithm of the number of members.
//
// It is a complete binary tree: a leaf for each member, and each inner node holds the
// winner of its two children. Most changes of load do not change who wins a few levels
// up, where an update then stops.
type tournament struct {
	members []int32 // what the leaves stand for, ascending
	keys    []int64 // of the leaves, absent beyond the members
	wins    []int32 // winning leaf of each inner node; node 1 is the root, 2n and 2n+1 the children of n
}

// absent is the key of who cannot be chosen.
const absent int64 = math.MaxInt64

// newTournament returns a tournament in which all members are absent.
func newTournament(members []int32) tournament {
	size := 1
	for size < len(members) {
		size *= 2
	}
	t := tournament{members: members, keys: make([]int64, size), wins: make([]int32, size)}
	for i := range t.keys {
		t.keys[i] = absent
	}
	for n := size - 1; n > 0; n-- {
		t.wins[n] = t.child(2 * n)
	}
	return t
}

// child returns the winner of the subtree of a node, which may be a leaf.
func (t *tournament) child(n int) int32 {
	if n >= len(t.keys) {
		return int32(n - len(t.keys))
	}
	return t.wins[n]
}

// set changes the key of a leaf.
func (t *tournament) set(leaf int32, key int64) {
	if t.keys[leaf] == key {
		return
	}
	t.keys[leaf] = key
	for n := (len(t.keys) + int(leaf)) / 2; n > 0; n /= 2 {
		won := t.child(2 * n)
		if right := t.child(2*n + 1); t.keys[right] < t.keys[won] {
			won = right
		}
		if t.wins[n] == won && won != leaf {
			return // the leaf neither wins here nor did
		}
		t.wins[n] = won
	}
}

// winner returns the member with the least key, -1 if all are absent.
func (t *tournament) winner() int {
	if len(t.members) == 0 {
		return -1
	}
	leaf := int32(0)
	if len(t.wins) > 1 {
		leaf = t.wins[1]
	}
	if t.keys[leaf] == absent {
		return -1
	}
	return int(t.members[leaf])
}
