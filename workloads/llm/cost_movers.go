package llm

import (
	"fmt"

	"orrery/hwmodel"
)

// movers are the kernels of a layer that do little but move data. They are those of
// vLLM as Vidur timed them: later engines took them over.
type movers struct {
	norm                    *hwmodel.Stream
	rotary, add, activation mover
}

// mover is a kernel whose time depends on the bytes that it moves alone.
type mover struct{ *hwmodel.Stream }

func (m mover) bytes(d *hwmodel.Device, bytes float64) float64 {
	return m.Time(d, hwmodel.Pass{Bytes: bytes, Width: 2})
}

// moversOf finds the kernels for a model in p.
func moversOf(m *Model, p *hwmodel.Profile) (movers, error) {
	var missing error
	find := func(function string) *hwmodel.Stream {
		s, _ := p.Stream("vidur", "fp16", function)
		if s == nil && missing == nil {
			missing = fmt.Errorf("%s has no constants for the kernel %s", p.Device.Name, function)
		}
		return s
	}
	norm, activation := "rmsnorm", "silu_mul"
	if m.NormBias {
		norm = "layernorm"
	}
	if !m.Gated {
		activation = "gelu"
	}
	return movers{find(norm), mover{find("rope")}, mover{find("add")}, mover{find(activation)}}, missing
}
