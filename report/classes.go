package report

import (
	"fmt"
	"time"

	"orrery/cluster"
	"orrery/sim"
)

// ClassSpec is what recorders must know of a class of images beforehand.
type ClassSpec struct {
	Name     string
	Deadline time.Duration // 0 if it has none
}

// ClassSpecs returns the specs of the classes of a run.
func ClassSpecs(classes []cluster.Class) []ClassSpec {
	specs := make([]ClassSpec, len(classes))
	for i, c := range classes {
		specs[i] = ClassSpec{c.Name, c.Deadline}
	}
	return specs
}

// Class is what became of the requests of one class, of images or clips. Counts cover
// the whole run; E2E is of those that arrived in the window.
type Class struct {
	Name       string `json:"name"`
	Arrived    int64  `json:"arrived"`
	Finished   int64  `json:"finished"`
	Rejected   int64  `json:"rejected"`
	Unfinished int64  `json:"unfinished"`
	Steps      int64  `json:"steps"` // that they went
	E2E        Delay  `json:"e2e"`   // arrival to image
	// Rungs counts those that finished by the alternative that made the image, best
	// quality first.
	Rungs []int64 `json:"rungs"`
	// DeadlineS is the class's deadline, null if it has none, and Missed counts requests
	// that finished after it, or were unfinished when it had passed.
	DeadlineS Number `json:"deadline_s"`
	Missed    int64  `json:"missed"`
}

// classUse measures one class.
type classUse struct {
	arrived, finished, rejected, unfinished, steps, missed int64
	rungs                                                  []int64
	e2e, cut                                               sim.Sketch
}

// class takes in a record of the life of an image.
func (m *Metrics) class(r *cluster.Record) {
	s := r.Request
	for int(s.Class) > len(m.classes) {
		m.classes = append(m.classes, classUse{})
	}
	c := &m.classes[s.Class-1]
	measured := s.Arrived >= m.cfg.WarmUp
	sojourn := r.At.Sub(s.Arrived)
	switch r.What {
	case cluster.Arrived:
		c.arrived++
	case cluster.Rejected:
		c.rejected++
	case cluster.Finished:
		c.finished++
		if r.At >= m.cfg.WarmUp {
			m.window.images++
		}
		m.paint(s, r.At)
		c.steps += int64(s.Emitted)
		c.rung(int(s.Rung), 1)
		c.late(sojourn, m.classSpec(s.Class-1).Deadline)
		if measured {
			c.e2e.Add(int64(sojourn), 1)
		}
	case cluster.Unfinished:
		c.unfinished++
		m.paint(s, r.At)
		c.steps += int64(s.Emitted)
		c.late(sojourn, m.classSpec(s.Class-1).Deadline)
		if measured {
			c.cut.Add(int64(sojourn), 1)
		}
	}
}

func (c *classUse) late(sojourn, deadline time.Duration) {
	if deadline > 0 && sojourn > deadline {
		c.missed++
	}
}

func (c *classUse) rung(rung int, n int64) {
	for rung >= len(c.rungs) {
		c.rungs = append(c.rungs, 0)
	}
	c.rungs[rung] += n
}

func (c *classUse) merge(o *classUse) {
	c.arrived += o.arrived
	c.finished += o.finished
	c.rejected += o.rejected
	c.unfinished += o.unfinished
	c.steps += o.steps
	c.missed += o.missed
	for rung, n := range o.rungs {
		c.rung(rung, n)
	}
	c.e2e.Merge(&o.e2e)
	c.cut.Merge(&o.cut)
}

// classSpec returns the spec of a class, without name or deadline if there is none.
func (m *Metrics) classSpec(i int32) ClassSpec {
	if int(i) < len(m.cfg.Classes) {
		return m.cfg.Classes[i]
	}
	return ClassSpec{Name: fmt.Sprintf("class %d", i+1)}
}

// byClass fills in what became of the classes, those without requests included.
func (m *Metrics) byClass(r *Result) {
	for i := range max(len(m.classes), len(m.cfg.Classes)) {
		spec, c := m.classSpec(int32(i)), &classUse{}
		if i < len(m.classes) {
			c = &m.classes[i]
		}
		x := Class{
			Name: spec.Name, Arrived: c.arrived, Finished: c.finished, Rejected: c.rejected, Unfinished: c.unfinished,
			Steps: c.steps, E2E: delay(&c.e2e, &c.cut), Rungs: append([]int64{}, c.rungs...), DeadlineS: None, Missed: c.missed,
		}
		if spec.Deadline > 0 {
			x.DeadlineS = Number(spec.Deadline.Seconds())
		}
		r.Classes = append(r.Classes, x)
	}
}

// Images tells whether all requests asked for images, so that figures of tokens are of
// steps and those of prefills say nothing.
func (r *Result) Images() bool {
	n := int64(0)
	for i := range r.Classes {
		n += r.Classes[i].Arrived
	}
	return n > 0 && n == r.Requests.Arrived
}

// classes adds a line for each class of images.
func (v *screen) classes(r *Result) {
	for i := range r.Classes {
		c := &r.Classes[i]
		if c.Arrived == 0 {
			continue // an alternative of others
		}
		text := fmt.Sprintf("%s: %s made of %s, in %s (p50), %s (p99)", c.Name, count(c.Finished), count(c.Arrived), seconds(c.E2E.P50S), seconds(c.E2E.P99S))
		if c.DeadlineS.Exists() {
			text += fmt.Sprintf("; %s later than %s", count(c.Missed), seconds(c.DeadlineS))
		}
		for rung, n := range c.Rungs {
			if len(c.Rungs) > 1 {
				text += fmt.Sprintf("; alternative %d: %s", rung+1, count(n))
			}
		}
		v.line("class", "%s", text)
	}
}
