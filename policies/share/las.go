package share

// LAS runs the jobs with the least attained service first, in device-seconds: it needs no
// sizes, and bets that what is young is short (Tiresias, Gu and others, NSDI 2019). Service
// is discretised: below each of Thresholds is one queue, first in first out, and earlier
// queues go before later ones; jobs of like age do not take devices from one another.
type LAS struct {
	// Thresholds are device-seconds, increasing. One makes the two queues that suffice, as
	// Tiresias has it, where the threshold suits the sizes of jobs. None counts as 1, 4, 16,
	// 64 and 256 device-hours, which suit what is not known.
	Thresholds []float64
	// Promote brings a job that holds nothing back to the first queue once it has been here
	// for so many times its attained service; 0 for never.
	Promote float64

	order queue
}

var unknown = []float64{3600, 4 * 3600, 16 * 3600, 64 * 3600, 256 * 3600}

// Share implements [Policy].
func (l *LAS) Share(v *View, p *Plan) {
	l.order.fill(len(v.Jobs), func(j int) float64 { return l.level(v, &v.Jobs[j]) })
	l.order.serve(v, p)
}

// level returns which queue a job is in.
func (l *LAS) level(v *View, job *Job) float64 {
	if l.Promote > 0 && job.Held.Width == 0 && v.Now.Sub(job.Arrived).Seconds() > l.Promote*job.Attained {
		return 0
	}
	thresholds := l.Thresholds
	if len(thresholds) == 0 {
		thresholds = unknown
	}
	n := 0
	for n < len(thresholds) && job.Attained >= thresholds[n] {
		n++
	}
	return float64(n)
}
