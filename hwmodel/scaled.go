package hwmodel

import (
	"math"
	"time"
)

// Scaled is a cost model whose every time is Factor times that of another: what a system
// would do if the other were off as a whole.
type Scaled struct {
	CostModel
	Factor float64 // above 0
}

// Stage implements [CostModel].
func (s *Scaled) Stage(stage int, b *Batch) time.Duration {
	return s.scale(s.CostModel.Stage(stage, b))
}

// Send implements [CostModel].
func (s *Scaled) Send(b *Batch) time.Duration { return s.scale(s.CostModel.Send(b)) }

// Host implements [CostModel].
func (s *Scaled) Host(b *Batch) (time.Duration, bool) {
	d, overlapped := s.CostModel.Host(b)
	return s.scale(d), overlapped
}

func (s *Scaled) scale(d time.Duration) time.Duration {
	return time.Duration(math.Round(s.Factor * float64(d)))
}
