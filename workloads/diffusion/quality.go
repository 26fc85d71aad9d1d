package diffusion

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// Quality is what was published of the results at one operating point. Nothing is
// interpolated: at a point of which nothing was published, the quality is unknown.
type Quality struct {
	Pipeline string
	Method   string // a sampler, "any" where the source does not say which, or what the run is changed by
	NFE      int    // evaluations of the network that a whole run of the sampler has
	Passes   int
	Metric   string
	Value    float64
	Set      string // of prompts, images or videos that it was measured on
	Source   string
	Note     string
}

//go:embed quality.csv
var qualityCSV string

// Qualities returns all that is known, in the order of the table.
var Qualities = sync.OnceValue(func() []Quality {
	r := csv.NewReader(strings.NewReader(qualityCSV))
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil {
		panic(err) // the table is part of the program
	}
	list := make([]Quality, 0, len(rows))
	for _, row := range rows[1:] {
		nfe, err1 := strconv.Atoi(row[2])
		passes, err2 := strconv.Atoi(row[3])
		value, err3 := strconv.ParseFloat(row[5], 64)
		if err1 != nil || err2 != nil || err3 != nil {
			panic(fmt.Sprintf("diffusion: quality.csv: no numbers in %q", row))
		}
		list = append(list, Quality{row[0], row[1], nfe, passes, row[4], value, row[6], row[7], row[8]})
	}
	return list
})

// Changes is a [Rewrite] that changes what comes out. Rewrites that do not implement it
// have no published quality, unless they say that there is none to lose.
type Changes interface {
	// Changes names the change as it stands in the table of qualities, as in deepcache:2;
	// empty where results stay what they were.
	Changes() string
}

// Changes implements [Changes].
func (d DeepCache) Changes() string { return fmt.Sprintf("deepcache:%d", d.Interval) }

// Quality returns what was published at the job's operating point: for its pipeline,
// sampler, evaluations, guidance and method. None is known where the list is empty.
func (j *Job) Quality() ([]Quality, error) {
	steps, err := j.SolverSteps()
	if err != nil {
		return nil, err
	}
	sampler, err := LoadSampler(j.Sampler)
	if err != nil {
		return nil, err
	}
	changed := ""
	for _, r := range j.Method.Rewrites {
		c, ok := r.(Changes)
		if !ok || changed != "" && c.Changes() != "" {
			return nil, nil // nobody has published the two together
		}
		if text := c.Changes(); text != "" {
			changed = text
		}
	}
	if j.Method.Guided != (Interval{}) {
		return nil, nil
	}
	var list []Quality
	for _, q := range Qualities() {
		method := q.Method == changed || changed == "" && (q.Method == j.Sampler || q.Method == "any" && !sampler.Distilled)
		if method && q.Pipeline == j.Pipeline.Name && q.NFE == Evaluations(steps) && q.Passes == j.Passes {
			list = append(list, q)
		}
	}
	return list, nil
}
