package cmd

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"orrery/plan/validate"
)

// unsteady is by how much the same iterations may differ in time on a machine that can
// be measured.
const unsteady = 0.04

// The simulator keeps its promises against a transformer that really runs on this
// machine's processor, under three policies at half and at nine tenths of the capacity:
// the median and 99th percentile of TBT within 10 %, the median TTFT within 15 %,
// throughput within 5 %, and the policies in the same order. It takes about two
// minutes, and is skipped only where the machine differs from itself by more.
func TestSimulatorAgainstTheProcessor(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a model on the wall clock for two minutes")
	}
	f := common{}
	subjects, err := f.subjects([]string{defaultValidation}, nil)
	if err != nil {
		t.Fatal(err)
	}
	machine, text, err := realMachine(subjects[0].scenario, "gonum", 1)
	if err != nil {
		t.Fatal(err)
	}
	wired := validationSubjects(subjects)
	for try := 0; ; try++ {
		off, err := validate.Steadiness(t.Context(), machine, wired, 1, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if off <= unsteady {
			break
		}
		if try == 5 {
			t.Skipf("the machine is too noisy to measure itself: the same iterations take up to %.0f %% longer from one second to the next", 100*off)
		}
	}
	missed := func(seed uint64) (*validate.Report, []string) {
		r, err := validate.Run(t.Context(), machine, wired, validate.Options{Seed: seed, Length: 5 * time.Second, Calibration: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		var off []string
		for _, l := range r.Loads {
			for _, p := range l.Policies {
				for _, n := range p.Lines {
					if n.Verdict == validate.Off {
						off = append(off, fmt.Sprintf("%s of %s at %.0f %% load", n.Metric, p.Name, 100*l.Share))
					}
				}
			}
		}
		if !r.OrderHolds {
			off = append(off, "the order of the policies")
		}
		return r, off
	}
	r, off := missed(1)
	t.Logf("%s\n%s", text, r.Text())
	if len(off) > 0 {
		// Noise that two runs happen not to show is met again in other lines: only what
		// is missed twice is the simulator's.
		again, offAgain := missed(1)
		t.Logf("again, since it missed %s\n%s", strings.Join(off, ", "), again.Text())
		for _, what := range off {
			for _, same := range offAgain {
				if what == same {
					t.Errorf("missed twice: %s", what)
				}
			}
		}
		r = again
	}
	if !t.Failed() && r.Noisy > 0 {
		t.Skipf("the machine is too noisy to judge %d of %d figures: two runs of it differ by more than their limits", r.Noisy, r.Noisy+r.OK+r.Off)
	}
}
