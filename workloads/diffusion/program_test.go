package diffusion

import (
	"errors"
	"testing"
	"time"

	"orrery/hwmodel"
)

// pricerOn returns a pricer for a board under the framework diffusers, and the board's memory.
func pricerOn(t *testing.T, board string) (*Pricer, int64) {
	t.Helper()
	p, err := hwmodel.Load(board)
	if err != nil {
		t.Fatal(err)
	}
	f, err := hwmodel.LoadFramework("diffusers")
	if err != nil {
		t.Fatal(err)
	}
	q, err := NewPricer(p, f)
	if err != nil {
		t.Fatal(err)
	}
	return q, p.Device.Memory
}

// The parts of a program are the whole of the run that was priced, whatever the sampler:
// Heun evaluates the network twice at all steps but the last, kept features make
// steps of different lengths.
func TestProgramAddsUpToItsJob(t *testing.T) {
	q, memory := pricerOn(t, "a100-sxm-80gb")
	for _, c := range []struct{ pipeline, sampler, method string }{
		{"sd15", "", ""}, {"sd15", "heun", ""}, {"sd15", "", "deepcache:3"}, {"sdxl-hyper-sd", "", ""}, {"resshift", "", ""},
	} {
		j := job(t, c.pipeline, func(j *Job) {
			if c.sampler != "" {
				j.Sampler = c.sampler
			}
			if c.method != "" {
				r, err := ParseMethod(c.method, j.Pipeline)
				if err != nil {
					t.Fatal(err)
				}
				j.Method.Rewrites = append(j.Method.Rewrites, r)
			}
		})
		p, err := NewProgram(j, q, memory, 2)
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if p.Steps() != j.Steps {
			t.Errorf("%+v: a program of %d steps; want %d", c, p.Steps(), j.Steps)
		}
		for n := 1; n <= p.Most(); n++ {
			sum := p.Encode(n) + p.Decode(n)
			for k := range p.Steps() {
				if p.Step(k, n) <= 0 {
					t.Errorf("%+v: step %d of %d takes %v", c, k, n, p.Step(k, n))
				}
				sum += p.Step(k, n)
			}
			want := time.Duration(p.Costs[n-1].Seconds * 1e9)
			if d := sum - want; d < -time.Microsecond || d > time.Microsecond {
				t.Errorf("%+v, batch %d: parts of %v; the job takes %v", c, n, sum, want)
			}
			if p.Memory(n) <= p.Memory(n-1) {
				t.Errorf("%+v: %d images hold %d bytes, one fewer %d", c, n, p.Memory(n), p.Memory(n-1))
			}
		}
	}
}

// A board's memory bounds the batch; a job of which not one image runs is refused with the
// allocation that failed.
func TestProgramOfWhatFits(t *testing.T) {
	q, memory := pricerOn(t, "rtx-2080-ti-11gb")
	p, err := NewProgram(job(t, "sd15", func(*Job) {}), q, memory, 32)
	if err != nil {
		t.Fatal(err)
	}
	if p.Most() < 4 || p.Most() >= 32 || p.Memory(p.Most()) > memory-Outside || p.Memory(p.Most()+1) < memory {
		t.Errorf("%d images run, with %d bytes of %d; one more needs %d", p.Most(), p.Memory(p.Most()), memory, p.Memory(p.Most()+1))
	}
	var full *hwmodel.OutOfMemory
	if _, err = NewProgram(job(t, "sdxl", func(*Job) {}), q, memory, 1); !errors.As(err, &full) {
		t.Errorf("%v; want that SDXL finds no memory", err)
	}
}
