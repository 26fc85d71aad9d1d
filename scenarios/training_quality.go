package scenarios

import (
	"math"
	"slices"

	"orrery/cluster/jobs"
	"orrery/policies/lrsched"
	"orrery/workloads/quality"
)

// KindLoss is what the jobs of a kind have learnt, by the standard noisy quadratic model: means
// over those that have ended.
type KindLoss struct {
	Name string
	// Planned is the loss at the end of a run of the planned width from start to end; Ran that of the
	// runs as the cluster gave them devices, on the schedule as planned; Replanned that with the rest
	// of the schedule planned anew, by predicted norms, whenever the width changed.
	Planned, Ran, Replanned float64
	Jobs                    int
}

// Losses returns what the jobs of every [[job]] with a schedule have learnt.
func (t *Training) Losses(out *jobs.Outcome) ([]KindLoss, error) {
	var list []KindLoss
	for i := range t.Jobs {
		k := &t.Jobs[i]
		if k.Schedule == "" {
			continue
		}
		l, err := newLearning(k)
		if err != nil {
			return nil, err
		}
		x := KindLoss{Name: k.Name, Planned: l.planned}
		for j := range out.Jobs {
			e := &out.Jobs[j]
			if e.Name != k.Name || e.End < 0 || e.Refused {
				continue
			}
			ran, err := l.loss(e.Segments, false)
			if err != nil {
				return nil, err
			}
			replanned, err := l.loss(e.Segments, true)
			if err != nil {
				return nil, err
			}
			x.Jobs++
			x.Ran += ran
			x.Replanned += replanned
		}
		if x.Jobs > 0 {
			x.Ran /= float64(x.Jobs)
			x.Replanned /= float64(x.Jobs)
			list = append(list, x)
		}
	}
	return list, nil
}

// learning is the quality model of a kind of job.
type learning struct {
	job     *TrainingJob
	profile lrsched.Profile
	model   *quality.NQM
	noise   float64 // variance of one sample's gradient, over all coordinates
	signal  float64 // squared norm of the mean gradient before the first step
	peak    float64 // tuned for the planned run
	planned float64
	width   int // planned
}

// modelSteps bounds the steps of a run in the model: longer runs are those of steps that are
// so many times larger, which changes neither the budget nor the batch.
const modelSteps = 4000

func newLearning(k *TrainingJob) (*learning, error) {
	p, err := lrsched.Load(k.Schedule)
	if err != nil {
		return nil, err
	}
	l := &learning{job: k, profile: p, model: quality.Standard(1000, 60), width: slices.Max(k.Widths)}
	for i, h := range l.model.H {
		l.noise += l.model.Mult[i] * h
		l.signal += l.model.Mult[i] * h * h * l.model.Start
	}
	whole := []jobs.Segment{{Width: l.width, From: 0, To: k.Samples}}
	steps, batches := l.steps(whole)
	tuned := l.model.Tune(lrsched.Of(p), len(steps), quality.Constant(batches[0]), quality.Grid())
	l.peak, l.planned = tuned.Peak, tuned.Loss
	return l, nil
}

// batch is that of the model for a width: 16 where the job's is critical.
func (l *learning) batch(width int) float64 {
	return 16 * float64(l.job.Batch*width) / l.job.Critical
}

// steps returns the steps of a run in the model: the share of the work that is done at each,
// and its batch.
func (l *learning) steps(segments []jobs.Segment) (done, batches []float64) {
	// A step of the planned width does so much of the work.
	work := func(width int) float64 {
		b := float64(l.job.Batch * width)
		return b / (1 + b/l.job.Critical)
	}
	coarse := max(l.job.Samples/work(l.width)/modelSteps, 1)
	at := 0.0
	for _, s := range segments {
		each := coarse * work(s.Width)
		for at < s.To-each/2 {
			done = append(done, at/l.job.Samples)
			batches = append(batches, l.batch(s.Width))
			at += each
		}
	}
	return done, batches
}

// loss is that at the end of a run over the segments.
func (l *learning) loss(segments []jobs.Segment, replan bool) (float64, error) {
	done, batches := l.steps(segments)
	if len(done) == 0 {
		return math.NaN(), nil
	}
	rates := make([]float64, len(done))
	for i, z := range done {
		rates[i] = l.peak * l.profile(z)
	}
	run := quality.Run{Steps: len(done), LR: func(t int) float64 { return rates[t] }, Batch: func(t int) float64 { return batches[t] }}
	before := l.batch(l.width)
	for i := 0; replan && i < len(done); i++ {
		if batches[i] == before {
			continue
		}
		before = batches[i]
		// The rest is expected at the width of the moment.
		left := slices.Repeat([]float64{batches[i]}, len(done)-i)
		signal := l.signal
		if i > 0 {
			past := run
			past.Steps = i
			norms := l.model.Norms(past)
			signal = max(norms[i-1]*norms[i-1]-l.noise/batches[i-1], 0)
		}
		r, err := lrsched.Replan(i, l.batch(l.width), left, lrsched.Noise{Signal: signal, PerSample: l.noise})
		if err != nil {
			return 0, err
		}
		for t := i; t < len(done); t++ {
			rates[t] = l.peak * r.LR(t, len(done))
		}
	}
	return l.model.Loss(run), nil
}
