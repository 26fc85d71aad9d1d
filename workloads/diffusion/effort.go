package diffusion

import "orrery/hwmodel"

// Effort returns what a run of the job asks of a device at its peaks: FLOPs at the rate of the
// networks' format, and operands over the bandwidth, each of every operator once. Busy is
// left to whoever knows the time.
func (j *Job) Effort(d *hwmodel.Device) (hwmodel.Exertion, error) {
	stages, err := j.Stages()
	if err != nil {
		return hwmodel.Exertion{}, err
	}
	var e hwmodel.Exertion
	for i := range stages {
		e.Add(stages[i].effort(d))
	}
	return e, nil
}

// Effort returns what one image of the program asks of a device, as [Job.Effort] has it, where
// it does not share a batch.
func (p *Program) Effort(d *hwmodel.Device) hwmodel.Exertion {
	var e hwmodel.Exertion
	for i := range p.Costs[0].Stages {
		e.Add(p.Costs[0].Stages[i].Stage.effort(d))
	}
	return e
}

func (s *Stage) effort(d *hwmodel.Device) hwmodel.Exertion {
	n := float64(s.Times)
	return hwmodel.Exertion{Compute: n * 2 * float64(s.Graph.MACs()) / d.FLOPs(s.DType), Memory: n * float64(s.Graph.Moved()) / d.DRAMBytes}
}
