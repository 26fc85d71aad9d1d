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
	for _, s := range stages {
		n := float64(s.Times)
		e.Compute += n * 2 * float64(s.Graph.MACs()) / d.FLOPs(s.DType)
		e.Memory += n * float64(s.Graph.Moved()) / d.DRAMBytes
	}
	return e, nil
}
