package place

import (
	"slices"
	"testing"
)

func TestPackFillsAndSpreadSpreads(t *testing.T) {
	nodes := []Node{{8, 8}, {8, 3}, {8, 2}}
	for _, c := range []struct {
		policy         Policy
		tensor, stages int
		want           []int
	}{
		{Pack{}, 2, 1, []int{2}},
		{Pack{}, 3, 1, []int{1}},
		{Spread{}, 2, 1, []int{0}},
		{Pack{}, 4, 2, []int{0, 0}},
		{Spread{}, 1, 2, []int{0, 0}},
		{Pack{}, 2, 5, []int{2, 1, 0, 0, 0}}, // no node has room for all
		{Pack{}, 8, 2, nil},
		{Pack{}, 9, 1, nil},
	} {
		if got := c.policy.Place(c.tensor, c.stages, nodes); !slices.Equal(got, c.want) {
			t.Errorf("%T places %d groups of %d on %v, want %v", c.policy, c.stages, c.tensor, got, c.want)
		}
	}
}
