package scenarios

import "orrery/workloads/trace"

// Requests returns how many requests the traffic will ask for at most, 0 if that is
// not known beforehand: conversations have as many as they have turns, and a trace
// or an arrival process may end early. It serves to show how far a run is.
func (s *Scenario) Requests() int64 {
	switch t := s.Traffic.part.traffic(s.Seed, s.Model.MaxLen).(type) {
	case trace.Synthetic:
		return t.N
	case trace.ClosedLoop:
		return t.N
	case trace.Replay:
		return t.Limit
	}
	return 0
}

// Rate returns the mean rate of the traffic as the scenario states it, in requests
// (or sessions) per second, 0 if it states none.
func (s *Scenario) Rate() float64 {
	for _, part := range s.Traffic.part.parts() {
		for _, f := range fields(part) {
			if f.key == "rate" {
				return f.value.Float()
			}
		}
	}
	return 0
}
