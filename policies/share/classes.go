package share

import (
	"encoding/binary"
	"math"
)

// class is a number of jobs that are alike: by symmetry they have the same share in an
// optimum of max-min fairness, so that the linear program has a row for each class and not
// for each job.
type class struct {
	n      int
	weight float64
	width  []float64 // by type, 0 where they do not fit
	speed  []float64 // by type, over that of an equal share of all types
}

// classes sorts the jobs of a view into classes.
type classes struct {
	of   []int // class of each job, by index in View.Jobs; -1 for a job that fits nowhere
	all  []class
	seen map[string]int
	key  []byte
}

// mostClasses bounds the linear program: its simplex takes milliseconds with so many.
const mostClasses = 40

// sort fills the classes. Speeds and weights within 2 % are alike, or within as much more as
// it takes to have no more than mostClasses.
func (c *classes) sort(v *View) {
	for steps := 32.0; ; steps /= 2 {
		c.try(v, steps)
		if len(c.all) <= mostClasses || steps < 1 {
			return
		}
	}
}

// try sorts with so many steps to a factor of two.
func (c *classes) try(v *View, steps float64) {
	c.of, c.all = c.of[:0], c.all[:0]
	c.seen = map[string]int{}
	speed, width := make([]float64, len(v.Types)), make([]float64, len(v.Types))
	for j := range v.Jobs {
		job := &v.Jobs[j]
		if !relative(v, job, speed, width) {
			c.of = append(c.of, -1)
			continue
		}
		c.key = step(c.key[:0], job.Weight, steps)
		for k := range speed {
			c.key = step(append(c.key, byte(width[k]), byte(int(width[k])>>8)), speed[k], steps)
		}
		at, ok := c.seen[string(c.key)]
		if !ok {
			at = len(c.all)
			c.seen[string(c.key)] = at
			c.all = append(c.all, class{weight: job.Weight, width: append([]float64(nil), width...), speed: make([]float64, len(speed))})
		}
		c.of = append(c.of, at)
		c.all[at].n++
		for k := range speed {
			c.all[at].speed[k] += (speed[k] - c.all[at].speed[k]) / float64(c.all[at].n)
		}
	}
}

// step appends the logarithm of x, rounded.
func step(key []byte, x, steps float64) []byte {
	if x <= 0 {
		return append(key, 0xff, 0xff, 0xff)
	}
	return binary.LittleEndian.AppendUint16(key, uint16(int16(math.Round(math.Log2(x)*steps))))
}

// relative writes a job's width on each type, and its speed over what it would have if it
// spent its time on types in proportion to their devices. It returns false if the job fits
// nowhere.
func relative(v *View, job *Job, speed, width []float64) bool {
	devices, equal := 0, 0.0
	for k := range v.Types {
		speed[k], width[k] = 0, 0
		at := job.tuned(k)
		if at < 0 || job.Widths[at] > v.Types[k].Devices {
			continue
		}
		speed[k], width[k] = job.Speed[k][at], float64(job.Widths[at])
		devices += v.Types[k].Devices
		equal += speed[k] * float64(v.Types[k].Devices)
	}
	if equal == 0 {
		return false
	}
	for k := range speed {
		speed[k] *= float64(devices) / equal
	}
	return true
}
