package share

import "math"

// SRTF runs the jobs with the shortest remaining time first and takes devices from longer
// ones for them. It goes by [Job.Total], what owners declare of their jobs' work: an oracle
// where they know it. Jobs without a total come last, in order of arrival.
//
// With Service the order is by remaining time times width, the device-seconds still to
// serve (SRSF of Tiresias, Gu and others, NSDI 2019), which is the better one for gangs.
type SRTF struct {
	Service bool

	order queue
}

// Share implements [Policy].
func (s *SRTF) Share(v *View, p *Plan) {
	s.order.fill(len(v.Jobs), func(j int) float64 { return s.left(&v.Jobs[j]) })
	s.order.serve(v, p)
}

// left returns the seconds or device-seconds a job still takes where it is fastest.
func (s *SRTF) left(job *Job) float64 {
	speed, width := job.fastest()
	if job.Total <= 0 || speed <= 0 {
		return math.Inf(1)
	}
	left := max(job.Total-job.Done, 0) / speed
	if job.Held.Width == 0 {
		left += job.Restart
	}
	if s.Service {
		left *= float64(width)
	}
	return left
}
