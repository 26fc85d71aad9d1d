package cmd

import (
	"context"
	"os"
	"strings"
	"testing"
)

// The page on schedules has the tables that the command prints.
func TestSchedulesPageIsCurrent(t *testing.T) {
	a := &app{}
	c := a.schedulesCmd()
	var f schedulesFlags
	for name, flag := range map[string]any{"schedule": &f.names, "batches": &f.batches, "budgets": &f.budgets} {
		values, err := c.Flags().GetStringSlice(name)
		if err == nil {
			*flag.(*[]string) = values
			continue
		}
		numbers, err := c.Flags().GetFloat64Slice(name)
		if err != nil {
			t.Fatal(err)
		}
		*flag.(*[]float64) = numbers
	}
	f.batch, f.steps, f.points, f.targets = 16, 2000, []int{100, 20, 10, 4, 3, 2}, []float64{.4025, .1548, .0609, .0286}
	answer, err := f.compare(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../docs/schedules.md")
	if err != nil {
		t.Fatal(err)
	}
	if text := answer.text(false); !strings.Contains(string(page), text) {
		t.Errorf("docs/schedules.md has other tables than\n%s", text)
	}
}
