// Package place decides on which nodes a replica has its devices. [Policy] is the one
// interface, [Pack] and [Spread] its two classics.
package place

// Node is what a policy may know of a node.
type Node struct {
	Devices int // in all
	Free    int // not taken
}

// Policy places one replica at a time.
type Policy interface {
	// Place returns the node of each of stages groups of tensor devices, or nil if they
	// do not fit. The devices of one group talk all the time and must share a node.
	Place(tensor, stages int, nodes []Node) []int
}

// Pack takes the node with the fewest free devices that suffice, the first among equals:
// large replicas find room longest, and a lost node takes the most with it.
type Pack struct{}

// Place implements [Policy].
func (Pack) Place(tensor, stages int, nodes []Node) []int {
	return place(tensor, stages, nodes, func(a, b Node) bool { return a.Free < b.Free })
}

// Spread takes the node with the most free devices, the first among equals: a lost node
// takes the least with it.
type Spread struct{}

// Place implements [Policy].
func (Spread) Place(tensor, stages int, nodes []Node) []int {
	return place(tensor, stages, nodes, func(a, b Node) bool { return a.Free > b.Free })
}

// place puts all stages on one node if one has room, the best of those, and else each on
// the best node that has room for it.
func place(tensor, stages int, nodes []Node, better func(a, b Node) bool) []int {
	best := func(need int, nodes []Node) int {
		at := -1
		for i, n := range nodes {
			if n.Free >= need && (at < 0 || better(n, nodes[at])) {
				at = i
			}
		}
		return at
	}
	out := make([]int, stages)
	if at := best(tensor*stages, nodes); at >= 0 {
		for i := range out {
			out[i] = at
		}
		return out
	}
	left := append([]Node{}, nodes...)
	for i := range out {
		at := best(tensor, left)
		if at < 0 {
			return nil
		}
		left[at].Free -= tensor
		out[i] = at
	}
	return out
}
