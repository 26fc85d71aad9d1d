package diffusion

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write tables into docs/diffusion.md rather than compare them")

// checkDocs fails unless the docs have the table under the given name, or writes it there.
func checkDocs(t *testing.T, name, table string) {
	t.Helper()
	const file = "../../docs/diffusion.md"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(data), "<!-- "+name+":")
	mark, rest, closed := strings.Cut(rest, "-->\n")
	old, tail, ended := strings.Cut(rest, "<!-- end -->")
	if !found || !closed || !ended {
		t.Fatalf("%s has no table %q", file, name)
	}
	if old == table {
		return
	}
	if !*update {
		t.Errorf("the table %q of %s is\n%s\nwant\n%s", name, file, old, table)
		return
	}
	text := head + "<!-- " + name + ":" + mark + "-->\n" + table + "<!-- end -->" + tail
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// writeDocs writes a table of times, which a new fit may move a little: tests hold these
// to what was measured, and the docs to the last -update.
func writeDocs(t *testing.T, name, table string) {
	if *update {
		checkDocs(t, name, table)
	}
}

// The fewer the steps, the more of a run is the decoder.
func TestFewStepsLeaveTheDecoder(t *testing.T) {
	table := "| SDXL, 1024x1024 | evaluations | kernels | TMAC | of that the decoder | ImageReward |\n|---|---|---|---|---|---|\n"
	last := 0.
	for _, c := range []struct {
		name, pipeline string
		steps          int
	}{
		{"guided", "sdxl", 25}, {"Hyper-SD", "sdxl-hyper-sd", 8}, {"Hyper-SD", "sdxl-hyper-sd", 4}, {"Hyper-SD", "sdxl-hyper-sd", 2}, {"Hyper-SD", "sdxl-hyper-sd", 1},
	} {
		j := job(t, c.pipeline, func(j *Job) { j.Steps = c.steps })
		var all, decoder int64
		kernels := 0
		stages := stagesOf(t, j)
		for _, s := range stages {
			macs := int64(s.Times) * s.Graph.MACs()
			all += macs
			if s.Phase == Decode {
				decoder += macs
			}
			kernels += s.Times * s.Graph.Kernels()
		}
		share := float64(decoder) / float64(all)
		if share <= last {
			t.Errorf("%s with %d steps: the decoder has %g of the work; want more than with more steps", c.name, c.steps, share)
		}
		last = share
		table += fmt.Sprintf("| %s | %d | %d | %.1f | %.0f %% | %s |\n", c.name, evaluations(stages), kernels, float64(all)/1e12, 100*share, reward(t, j))
	}
	if last < 0.5 {
		t.Errorf("of one step the decoder has %g; want more than half", last)
	}
	checkDocs(t, "few-steps", table)
}

// reward returns the published ImageReward of a job.
func reward(t *testing.T, j *Job) string {
	list, err := j.Quality()
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range list {
		if q.Metric == "ImageReward" {
			return fmt.Sprint(q.Value)
		}
	}
	return "unknown"
}
