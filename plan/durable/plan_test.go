package durable

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"

	"orrery/plan/sweep"
)

// continued returns what a workflow continues with.
func continued(t *testing.T, c *workflow.ContinueAsNewError) (in Input) {
	t.Helper()
	if err := converter.GetDefaultDataConverter().FromPayloads(c.Input, &in); err != nil {
		t.Fatal(err)
	}
	return in
}

const someID = "0123456789abcdef"

func somePlan(t *testing.T, cells int) (dir, hash string) {
	t.Helper()
	dir = t.TempDir()
	all := make([]sweep.Cell, cells)
	for i := range all {
		all[i] = sweep.Cell{Index: i, Key: strconv.Itoa(i), Scenario: []byte("seed = 1\n")}
	}
	hash, err := writePlan(dir, someID, all)
	if err != nil {
		t.Fatal(err)
	}
	return dir, hash
}

// Any span of a plan is read back as it was written, across its parts.
func TestSpansOfAPlanAreReadBack(t *testing.T) {
	const cells = 3*chunkCells + 10
	dir, hash := somePlan(t, cells)
	r := &planReader{dir: dir}
	for _, s := range []Span{{0, 1}, {0, cells}, {chunkCells - 1, 2}, {chunkCells, chunkCells}, {cells - 1, 1}} {
		got, err := r.cells(someID, hash, s)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != s.N {
			t.Fatalf("span %v: %d cells", s, len(got))
		}
		for i, c := range got {
			if c.Index != s.From+i {
				t.Fatalf("span %v has cell %d at %d", s, c.Index, i)
			}
		}
	}
}

// What comes over the wire cannot lead a worker to other files, or beyond the plan.
func TestWorkersRefuseWorkThatMakesNoSense(t *testing.T) {
	dir, hash := somePlan(t, 10)
	for name, w := range map[string]Work{
		"a path for the sweep":   {ID: "../../../../etc/x", Plan: hash, Span: Span{0, 1}},
		"a path for the plan":    {ID: someID, Plan: "../../../etc/passwd", Span: Span{0, 1}},
		"no such plan":           {ID: someID, Plan: strings.Repeat("0", 64), Span: Span{0, 1}},
		"a span beyond the plan": {ID: someID, Plan: hash, Span: Span{9, 2}},
		"a span before it":       {ID: someID, Plan: hash, Span: Span{-1, 2}},
		"no span":                {ID: someID, Plan: hash},
		"too many":               {ID: someID, Plan: hash, Span: Span{0, maxBatch + 1}},
		"more than there are":    {ID: someID, Plan: hash, Span: Span{math.MaxInt, 1}},
	} {
		if cells, err := (&planReader{dir: dir}).cells(w.ID, w.Plan, w.Span); err == nil {
			t.Errorf("%s: %d cells; want an error", name, len(cells))
		}
	}
}

// A part of a plan that was changed is not run.
func TestChangedPlansAreRefused(t *testing.T) {
	dir, hash := somePlan(t, 10)
	file := filepath.Join(planFolder(dir, someID), hash)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := (&planReader{dir: dir}).cells(someID, hash, Span{0, 1}); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("%v; want that it is damaged", err)
	}
}

// All who ask for the place of a folder get the same, other folders another.
func TestPlaceIsOfTheFolder(t *testing.T) {
	dir := t.TempDir()
	first, err := Place(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Place(dir)
	if err != nil {
		t.Fatal(err)
	}
	other, err := Place(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if first != again || first == other {
		t.Errorf("%s, again %s, another folder's %s; want the first two alike", first, again, other)
	}
}
