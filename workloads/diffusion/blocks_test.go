package diffusion

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestBlocksAreRunsOfOneAxis is what methods that run blocks slice by slice rest on.
func TestBlocksAreRunsOfOneAxis(t *testing.T) {
	for _, name := range Names() {
		g := graphOf(t, name, Call{})
		ended := map[int]bool{}
		for i := 1; i < len(g.Ops); i++ {
			was, is := &g.Ops[i-1], &g.Ops[i]
			if was.Block == is.Block {
				if was.Axis != is.Axis {
					t.Fatalf("%s: %s and %s are in block %d along two axes", name, was.Name, is.Name, is.Block)
				}
				continue
			}
			ended[was.Block] = true
			if ended[is.Block] {
				t.Fatalf("%s: %s is in block %d, which had ended", name, is.Name, is.Block)
			}
		}
	}
}

// TestBlocksAreThoseOfThePaper reads the axes along one position of a level: Streamlined
// Inference groups a residual block with its transformer, and each temporal layer.
func TestBlocksAreThoseOfThePaper(t *testing.T) {
	for name, want := range map[string][]string{
		"animatediff_unet": {
			"spatial up3/res0/norm1 to up3/attn0/residual", "temporal up3/motion0/norm to up3/motion0/residual", "whole up3/cat1 to up3/cat1",
		},
		"svd_unet": {
			"spatial up3/res0/spatial/norm1 to up3/res0/spatial/scale", "temporal up3/res0/temporal/norm1 to up3/res0/mix",
			"spatial up3/attn0/norm to up3/attn0/block0/add3", "temporal up3/attn0/add_emb to up3/attn0/mix",
			"spatial up3/attn0/proj_out to up3/attn0/residual", "whole up3/cat1 to up3/cat1",
		},
	} {
		runs := blockRuns(graphOf(t, name, Call{}))
		at := slices.IndexFunc(runs, func(r string) bool { return strings.Contains(r, " up3/res0/") })
		if at < 0 || !slices.Equal(runs[at:at+len(want)], want) {
			t.Errorf("%s: blocks are %q, want %q", name, runs[max(at, 0):max(at, 0)+len(want)], want)
		}
	}
}

// blockRuns names the blocks of a graph by axis, first and last operator.
func blockRuns(g *Graph) []string {
	var runs []string
	first := 0
	for i := range g.Ops {
		if i < len(g.Ops)-1 && g.Ops[i+1].Block == g.Ops[i].Block {
			continue
		}
		axis := [...]string{Whole: "whole", Spatial: "spatial", Temporal: "temporal"}[g.Ops[i].Axis]
		runs = append(runs, fmt.Sprintf("%s %s to %s", axis, g.Ops[first].Name, g.Ops[i].Name))
		first = i + 1
	}
	return runs
}
