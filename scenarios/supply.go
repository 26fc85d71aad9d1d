package scenarios

import (
	"slices"

	"orrery/cluster"
	"orrery/hwmodel"
	"orrery/workloads/llm"
)

// supply tells recorders what the devices of the experiment's replicas and pools cost and
// draw, as far as it is known.
func (s *Scenario) supply(e *Experiment) {
	for i := range e.Config.Replicas {
		own, group := &e.Specs[i].Supply, e.Config.Replicas[i].Group
		if i > 0 && group == e.Config.Replicas[i-1].Group { // all alike
			*own = e.Specs[i-1].Supply
			continue
		}
		of := s
		own.PricePerHour = s.Hardware.PricePerHour
		if len(s.Groups) > 0 {
			g := &e.Config.Groups[group]
			of = s.Groups[slices.Index(s.groupNames(), g.Name)].scenario
			own.PricePerHour = g.PricePerHour
		}
		if of.model != nil && of.profile != nil {
			if p := of.profile.PowerFor(hwmodel.TextWork); p != nil {
				own.Power, own.Effort = p, llm.NewEffort(of.model, &of.profile.Device)
			}
		}
	}
	at, built := len(e.Config.Replicas), 0
	for i := range s.Pools {
		if s.Pools[i].Count == 0 {
			continue
		}
		power, images := poolPower(s.profiles[i], &e.Config.Pools[built])
		for range s.Pools[i].Count {
			e.Specs[at].Supply.Power, e.Specs[at].Supply.Images = power, images
			at++
		}
		built++
	}
}

// poolPower returns the power of a pool's devices and the effort of a step of an image by class
// and rung; nil where a class was measured as a whole, so that nobody knows what it computes.
func poolPower(p *hwmodel.Profile, pool *cluster.PoolConfig) (*hwmodel.Power, [][]hwmodel.Exertion) {
	if p == nil || p.PowerFor(hwmodel.ImageWork) == nil {
		return nil, nil
	}
	efforts := make([][]hwmodel.Exertion, len(pool.Programs))
	for class, rungs := range pool.Programs {
		for _, program := range rungs {
			known, ok := program.(*poolProgram)
			if !ok {
				return nil, nil
			}
			efforts[class] = append(efforts[class], known.Effort(&p.Device).Times(1/float64(known.Steps())))
		}
	}
	return p.PowerFor(hwmodel.ImageWork), efforts
}
