package hwmodel

import (
	"testing"
	"time"
)

func TestScaledTimesAreAllLonger(t *testing.T) {
	of := &Affine{Iteration: 1e-3, Sequence: 1e-5, SendToken: 1e-6, HostIteration: 2e-4, HostOverlaps: true, PipelineStages: 2}
	s := &Scaled{of, 1.5}
	b := &Batch{Decodes: 10, DecodeContext: 1000, Logits: 10}
	host, overlapped := s.Host(b)
	if s.Stages() != 2 || s.Stage(1, b) != 1650*time.Microsecond || s.Send(b) != 15*time.Microsecond || host != 300*time.Microsecond || !overlapped {
		t.Errorf("stages %d of %v, send %v, host %v, overlapped %v", s.Stages(), s.Stage(1, b), s.Send(b), host, overlapped)
	}
}
