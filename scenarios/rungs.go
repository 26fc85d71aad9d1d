package scenarios

import (
	"fmt"
	"strings"
)

// quality notes what was published of the results of each alternative of a class, since a
// policy that chooses among them chooses that as well. Where nothing was, it is unknown.
func (c *checker) quality(s *Scenario) {
	for i := range s.Classes {
		k := &s.Classes[i]
		if len(k.Alternatives) == 0 {
			continue
		}
		var parts []string
		for _, rung := range s.rungsOf(k.Name) {
			parts = append(parts, s.Classes[rung].Name+" "+s.qualityOf(rung))
		}
		c.note("published quality of %s: %s", k.Name, strings.Join(parts, "; "))
	}
}

// qualityOf returns the published figures of a class, at its pipeline, sampler and steps.
func (s *Scenario) qualityOf(class int) string {
	if s.jobs[class] == nil {
		return "unknown"
	}
	list, err := s.jobs[class].Quality()
	if err != nil || len(list) == 0 {
		return "unknown"
	}
	var parts []string
	for _, q := range list {
		parts = append(parts, fmt.Sprintf("%s %g (%s)", q.Metric, q.Value, q.Source))
	}
	return strings.Join(parts, ", ")
}
