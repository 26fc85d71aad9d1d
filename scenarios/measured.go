package scenarios

import (
	"fmt"
	"strconv"

	"orrery/calibrate"
	"orrery/hwmodel"
)

// HostFact is the fact of a measurement file that says how long the host works on an
// iteration before and after the devices, in seconds.
const HostFact = "host_s"

// measured is [hwmodel.Measured] in a scenario: prices fitted to whole iterations of
// the model.
type measured struct {
	File string `toml:"file"` // of measurements with a section iteration, as validate writes them

	loaded *hwmodel.Measured
}

func (*measured) needs() (model, device bool) { return true, false }

func (m *measured) check(c *checker, s *Scenario) {
	if m.File == "" {
		c.fail("file", "is missing; want a file of measured iterations, such as the measurement.txt of orrery validate")
		return
	}
	m.File = c.path("file", m.File)
	if s.Hardware.Pipeline > 1 {
		c.in("hardware").fail("pipeline", "is %d; whole measured iterations have no stages, so want 1", s.Hardware.Pipeline)
		return
	}
	if s.model == nil {
		return // which has been refused already
	}
	var err error
	if m.loaded, err = m.load(s); err != nil {
		c.wrap("file", err)
	}
}

// load fits the iterations of the scenario's model.
func (m *measured) load(s *Scenario) (*hwmodel.Measured, error) {
	all, err := calibrate.ReadMeasurements(m.File)
	if err != nil {
		return nil, err
	}
	samples := all.IterationsOf(s.model.Name, s.Hardware.Tensor)
	if len(samples) == 0 {
		return nil, fmt.Errorf("%s: no iteration of %s with a tensor-parallel degree of %d", m.File, s.model.Name, s.Hardware.Tensor)
	}
	cost, err := calibrate.FitIterations(samples)
	if err != nil {
		return nil, err
	}
	for _, f := range all.Facts {
		if f.Key != HostFact {
			continue
		}
		if cost.HostIteration, err = strconv.ParseFloat(f.Value, 64); err != nil {
			return nil, fmt.Errorf("%s: %s is %q, must be seconds", m.File, HostFact, f.Value)
		}
	}
	return cost, cost.Check()
}

func (m *measured) model(*Scenario) (hwmodel.CostModel, []string, error) {
	return m.loaded.Scaled(1), nil, nil // the numbers are shared, what a run notes is not
}
