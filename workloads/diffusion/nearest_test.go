package diffusion

import (
	"strings"
	"testing"
)

const gibi = int64(1) << 30

// What fits already is never far: less memory asks for more to be given up, and what is
// named does run.
func TestNearestSettingRuns(t *testing.T) {
	for _, c := range []struct {
		pipeline string
		change   func(*Job)
		memory   int64
		want     string
	}{
		{"animatediff", func(j *Job) {}, 8 * gibi, "one image decoded at a time"},
		{"sd15", func(j *Job) { j.Batch = 16; j.Width, j.Height = 1024, 1024 }, 8 * gibi, "one image decoded at a time, a batch of 8"},
		{"sdxl", func(j *Job) {}, 10 * gibi, "images decoded in tiles of 512 pixels"},
		{"animatediff", func(j *Job) { j.Width, j.Height = 1024, 1024 }, 8 * gibi, "one image decoded at a time, images decoded in tiles of 512 pixels, 6 frames"},
		{"svd", func(j *Job) { j.Frames = 1; j.Width, j.Height = 2048, 2048 }, 12 * gibi, "1536x1536 pixels"},
		{"sd15", func(j *Job) {}, gibi, ""},
	} {
		j := jobOf(t, c.pipeline, c.change)
		if got := j.Ladder().Nearest(c.memory, 0); got != c.want {
			t.Errorf("%s in %d GiB: %q, want %q", c.pipeline, c.memory/gibi, got, c.want)
		}
	}
}

// Every rung is a job that can run, differs from the ones before it, and changes nothing
// of the job that it begins with.
func TestLadderIsOfValidJobs(t *testing.T) {
	for _, name := range PipelineNames() {
		j := jobOf(t, name, func(j *Job) { j.Batch = 4 })
		before := *j
		seen := map[string]bool{}
		for _, r := range j.Ladder().rungs {
			what := strings.Join(r.what, ", ")
			if err := r.job.Validate(); err != nil || seen[what] {
				t.Errorf("%s, %s: %v, seen %v", name, what, err, seen[what])
			}
			seen[what] = true
		}
		if j.Batch != before.Batch || j.Width != before.Width || j.DecodeAtOnce != before.DecodeAtOnce || j.Tile != before.Tile {
			t.Errorf("%s: the job became %+v", name, j)
		}
	}
}
