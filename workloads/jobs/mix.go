package jobs

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"orrery/sim"
)

// Mix is a stream of jobs.
type Mix struct {
	Rate  float64  // arrivals an hour, a Poisson process
	Jobs  int      // how many, 0 for no end
	Types []string // of devices, in the order of [Job.Speed]; see [Types]
	Sizes Sizes
	// Rigid gangs have one width: 70 % of them one device, 10 % two, 15 % four and 5 % eight,
	// Gavel's reading of a trace of Microsoft's Philly clusters. Other jobs run at every width.
	Rigid bool
	// Deadlines is the part of jobs that have one: 1.2, 2 or 10 times as long after arrival as
	// they take on the reference device, each as likely (slack as in Gavel's experiments).
	Deadlines float64
}

// Sizes says how much work jobs are.
type Sizes string

// The distributions of sizes.
const (
	// Philly is the size of jobs in Sia's traces, in hours of a 2080 Ti: 84 % are image
	// classifiers of up to 1 h, 12 % of speech or text of 1 to 10 h, half and half, 2 % large
	// classifiers of 10 to 100 h and 2 % of 100 to 1,000 h. The classes are those of Sia and
	// of Pollux before it; the parts are those of the first of Pollux's published workloads
	// (petuum/adaptdl, benchmark/workloads/workload-1.csv: 134, 19, 3 and 4 of 160 jobs). Within
	// a class sizes are log-uniform from a minute on.
	Philly Sizes = "philly"
	// Gavel draws durations: 10^U(1.5, 3) minutes for 80 % of jobs and 10^U(3, 4) for the
	// rest, on a V100 at their width (the narrowest, if they have several), of any class.
	Gavel Sizes = "gavel"
)

// AllSizes returns all distributions.
func AllSizes() []Sizes { return []Sizes{Philly, Gavel} }

// Job is a training job.
type Job struct {
	ID       int64
	Class    string
	Arrived  sim.Time
	Deadline sim.Time // 0 for none
	Widths   []int
	Samples  [][]float64 // a second, by type and index of Widths
	Speed    [][]float64 // of them, what they are worth at the narrowest width
	Total    float64     // samples, as at the narrowest width
	Restart  float64     // seconds
}

// Source gives the jobs of a mix in order of arrival.
type Source struct {
	mix                      Mix
	classes                  []Class
	at                       []int // index in Types of each of the mix's
	next                     int64
	sum                      float64 // of gaps of mean 1
	gaps, kind, size, fringe *rand.Rand
}

// Source returns the jobs of the mix for a seed.
func (m Mix) Source(seed uint64) (*Source, error) {
	s := &Source{
		mix: m, classes: Classes(), gaps: sim.Stream(seed, "jobs/arrivals"), kind: sim.Stream(seed, "jobs/classes"),
		size: sim.Stream(seed, "jobs/sizes"), fringe: sim.Stream(seed, "jobs/deadlines"),
	}
	switch {
	case !(m.Rate > 0 && m.Rate <= 1e6):
		return nil, fmt.Errorf("a rate of %v jobs an hour; want above 0 and at most 1e6", m.Rate)
	case m.Jobs < 0:
		return nil, fmt.Errorf("%d jobs; want 1 or more, or 0 for no end", m.Jobs)
	case len(m.Types) == 0:
		return nil, fmt.Errorf("no types of devices; want some of %v", Types)
	case !slices.Contains(AllSizes(), m.Sizes):
		return nil, fmt.Errorf("no sizes %q; want one of %v", m.Sizes, AllSizes())
	case !(m.Deadlines >= 0 && m.Deadlines <= 1):
		return nil, fmt.Errorf("deadlines for a part of %v of jobs; want 0 to 1", m.Deadlines)
	}
	for _, name := range m.Types {
		at := slices.Index(Types, name)
		if at < 0 {
			return nil, fmt.Errorf("no rates of training on %q; want one of %v", name, Types)
		}
		s.at = append(s.at, at)
	}
	return s, nil
}

// Next returns the next job, or false after the last.
func (s *Source) Next() (Job, bool) {
	if s.mix.Jobs > 0 && s.next == int64(s.mix.Jobs) {
		return Job{}, false
	}
	s.sum += s.gaps.ExpFloat64()
	job := Job{ID: s.next, Arrived: sim.Seconds(s.sum / s.mix.Rate * 3600), Widths: Widths}
	s.next++
	if s.mix.Rigid {
		job.Widths = []int{philly(s.kind.Float64())}
	}
	var class *Class
	var seconds float64 // on the reference device
	if s.mix.Sizes == Gavel {
		class = &s.classes[s.kind.IntN(len(s.classes))]
		seconds = s.duration()
		job.Total = seconds * class.rate(1, job.Widths[0])
	} else {
		class, seconds = s.category()
		job.Total = seconds * class.rate(0, 1)
		seconds = job.Total / class.rate(0, job.Widths[0])
	}
	job.Class, job.Restart = class.Name, class.Restart
	job.Samples, job.Speed = s.speeds(class, job.Widths)
	// Both are drawn whether or not they are used, so that jobs do not depend on the part.
	u, slack := s.fringe.Float64(), [3]float64{1.2, 2, 10}[s.fringe.IntN(3)]
	if u < s.mix.Deadlines {
		job.Deadline = job.Arrived + sim.Seconds(slack*seconds)
	}
	return job, true
}

// philly returns the width of a gang for a number drawn from 0 to 1.
func philly(u float64) int {
	switch {
	case u < 0.7:
		return 1
	case u < 0.8:
		return 2
	case u < 0.95:
		return 4
	}
	return 8
}

// duration returns seconds as Gavel draws them.
func (s *Source) duration() float64 {
	long, u := s.size.Float64() >= 0.8, s.size.Float64()
	if long {
		return 60 * math.Pow(10, 3+u)
	}
	return 60 * math.Pow(10, 1.5+1.5*u)
}

// category returns a class and seconds on one 2080 Ti as Sia's traces have them.
func (s *Source) category() (*Class, float64) {
	u, half, size := s.kind.Float64(), s.kind.IntN(2), s.size.Float64()
	spread := func(from, to float64) float64 { return 3600 * from * math.Pow(to/from, size) }
	switch {
	case u < 0.84:
		return &s.classes[0], spread(1./60, 1)
	case u < 0.96:
		return &s.classes[1+half], spread(1, 10)
	case u < 0.98:
		return &s.classes[3], spread(10, 100)
	}
	return &s.classes[3], spread(100, 1000)
}

// rate returns samples a second on a type of [Types].
func (c *Class) rate(typ, width int) float64 { return c.samples[typ][slices.Index(Widths, width)] }

// speeds returns samples a second, and what they are worth: a gang of one width is taken to
// train at the batch that its owner wants, and loses nothing.
func (s *Source) speeds(c *Class, widths []int) (samples, worth [][]float64) {
	for _, typ := range s.at {
		row, net := make([]float64, len(widths)), make([]float64, len(widths))
		for i, w := range widths {
			row[i] = c.rate(typ, w)
			net[i] = row[i]
			if len(widths) > 1 {
				net[i] *= c.efficiency(w)
			}
		}
		samples, worth = append(samples, row), append(worth, net)
	}
	return samples, worth
}
