package diffusion

import (
	"encoding/csv"
	"os"
	"slices"
	"strconv"
	"testing"
)

// Every row of the table is about a pipeline and a way to run it that exist.
func TestQualitiesAreOfWhatIsOffered(t *testing.T) {
	for _, q := range Qualities() {
		if !slices.Contains(PipelineNames(), q.Pipeline) {
			t.Errorf("%+v: there is no such pipeline", q)
			continue
		}
		if !slices.Contains(samplerNames(), q.Method) {
			continue
		}
		j := job(t, q.Pipeline, func(j *Job) { j.Sampler, j.Steps, j.Passes = q.Method, q.NFE, q.Passes })
		list, err := j.Quality()
		if err != nil || !slices.Contains(list, q) {
			t.Errorf("%+v is not found at its own operating point: %v, %v", q, list, err)
		}
	}
}

// Nothing is known where nothing was published, and nothing is made up between two points.
func TestQualityIsUnknownElsewhere(t *testing.T) {
	for _, c := range []struct {
		name, pipeline string
		change         func(*Job)
		known          bool
	}{
		{"25 guided steps", "sdxl", func(j *Job) { j.Steps = 25 }, true},
		{"24", "sdxl", func(j *Job) { j.Steps = 24 }, false},
		{"25 without guidance", "sdxl", func(j *Job) { j.Steps, j.Passes = 25, 1 }, false},
		{"guidance for a part", "sdxl", func(j *Job) { j.Steps, j.Method.Guided = 25, Interval{0.2, 0.8} }, false},
		{"with kept features", "sdxl", func(j *Job) { j.Steps = 25; withMethods(t, "deepcache:3")(j) }, false},
		{"as published", "svd", withMethods(t, "deepcache:2"), true},
		{"two methods", "svd", withMethods(t, "deepcache:2", "deepcache:2"), false},
		{"other model", "svd", nil, true},
		{"a consistency model's steps on 25", "sdxl", func(j *Job) { j.Steps, j.Sampler = 25, "lcm" }, false},
		{"one step", "sdxl-disback", nil, false},
		{"unified LoRA", "sdxl-hyper-sd", func(j *Job) { j.Steps = 2 }, true},
	} {
		list, err := job(t, c.pipeline, c.change).Quality()
		if err != nil || (len(list) > 0) != c.known {
			t.Errorf("%s, %s: %v, %v; want it known: %v", c.pipeline, c.name, list, err, c.known)
		}
	}
}

// The table's figures are those that were gathered.
func TestQualitiesAgreeWithTheGatheredTable(t *testing.T) {
	f, err := os.Open("../../../shared/data/diffusion/quality_vs_steps.csv")
	if err != nil {
		t.Skip("the gathered table is not here: ", err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	type figure struct {
		metric string
		value  float64
	}
	there := map[figure]bool{}
	for _, row := range rows[1:] {
		v, err := strconv.ParseFloat(row[6], 64)
		if err != nil {
			t.Fatal(err)
		}
		there[figure{row[5], v}] = true
	}
	for _, q := range Qualities() {
		if !there[figure{q.Metric, q.Value}] {
			t.Errorf("%+v was not gathered", q)
		}
	}
}
