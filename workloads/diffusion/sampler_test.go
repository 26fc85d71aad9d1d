package diffusion

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func stepsOf(t *testing.T, sampler string, n int) []SolverStep {
	t.Helper()
	s, err := LoadSampler(sampler)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := s.Steps(n)
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

// The steps of each sampler are those that its scheduler, paper or model card prints.
func TestSamplersVisitPublishedTimes(t *testing.T) {
	for _, c := range []struct {
		sampler string
		n       int
		times   []float64
	}{
		{"ddim", 5, []float64{801, 601, 401, 201, 1}},                                 // diffusers DDIMScheduler, leading, offset 1
		{"dpm-solver++", 4, []float64{999, 749, 500, 250}},                            // diffusers DPMSolverMultistepScheduler, linspace
		{"lcm", 4, []float64{999, 759, 499, 259}},                                     // diffusers LCMScheduler
		{"lcm", 8, []float64{999, 879, 759, 639, 499, 379, 259, 139}},                 // the same
		{"hyper-sd", 1, []float64{999}},                                               // unified LoRA
		{"hyper-sd", 2, []float64{999, 499}},                                          //
		{"hyper-sd", 4, []float64{999, 749, 499, 249}},                                //
		{"hyper-sd", 8, []float64{999, 874, 749, 624, 499, 374, 249, 124}},            //
		{"hyper-sd-unet", 1, []float64{800}},                                          // one-step UNet's card
		{"dmd2", 4, []float64{999, 749, 499, 249}},                                    // DMD2's readme
		{"dmd2", 1, []float64{399}},                                                   //
		{"disback", 1, []float64{399}},                                                // DisBack's readme
		{"resshift", 4, []float64{3, 2, 1, 0}},                                        //
		{"sinsr", 1, []float64{0}},                                                    //
		{"flow-euler", 4, []float64{1000, 750, 500, 250}},                             //
		{"turbo", 4, []float64{999, 749, 499, 249}},                                   // diffusers, trailing
		{"lightning", 2, []float64{999, 499}},                                         //
		{"edm", 3, []float64{80, 2.515218976609178, 0.002}},                           // Karras and others 2022, equation 5
		{"euler-karras", 2, []float64{700, 0.002}},                                    //
		{"pndm", 3, []float64{667, 334, 1}},                                           // diffusers PNDMScheduler, skip_prk_steps
		{"unipc", 10, []float64{999, 899, 799, 699, 599, 500, 400, 300, 200, 100}},    // diffusers UniPCMultistepScheduler
		{"heun", 10, []float64{901, 801, 701, 601, 501, 401, 301, 201, 101, 1}},       //
		{"tcd", 2, []float64{999, 499}},                                               //
		{"resshift", 15, []float64{14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}}, //
	} {
		steps := stepsOf(t, c.sampler, c.n)
		for i, s := range steps {
			if d := s.Time - c.times[i]; d > 1e-6 || d < -1e-6 || len(steps) != len(c.times) {
				t.Errorf("%s of %d: step %d at %v; want %v", c.sampler, c.n, i, s.Time, c.times[i])
			}
		}
	}
}

// The number of evaluations (NFE) is the number of steps, but for PNDM's one more and
// Heun's, 2N-1.
func TestEvaluations(t *testing.T) {
	for _, s := range Samplers() {
		counts := s.StepsOf
		if counts == nil {
			counts = []int{1, 2, 3, 10, 15, 25, 50, 333}
		}
		for _, n := range counts {
			steps := stepsOf(t, s.Name, n)
			want := n
			switch s.Name {
			case "pndm":
				want = n + 1
			case "heun", "edm":
				want = 2*n - 1
			}
			if got := Evaluations(steps); got != want || len(steps) != n {
				t.Errorf("%s: %d steps with %d evaluations; want %d with %d", s.Name, len(steps), got, n, want)
			}
		}
	}
}

// Every sampler's list is one that a schedule file might hold: times fall, orders do not
// reach back before the first step, nothing is corrected or kept before there is anything.
func TestSamplersKeepTheRulesOfSchedules(t *testing.T) {
	for _, s := range Samplers() {
		for n := 1; n <= 60; n++ {
			if s.StepsOf != nil && !slices.Contains(s.StepsOf, n) {
				if _, err := s.Steps(n); err == nil {
					t.Errorf("%s takes %d steps; it knows %v", s.Name, n, s.StepsOf)
				}
				continue
			}
			steps := stepsOf(t, s.Name, n)
			for i := range steps {
				if err := checkStep(steps, i); err != nil {
					t.Errorf("%s, step %d of %d: %v", s.Name, i, n, err)
				}
			}
		}
	}
}

func TestMultistepOrders(t *testing.T) {
	order := func(steps []SolverStep) (list []int) {
		for _, s := range steps {
			list = append(list, s.Order)
		}
		return list
	}
	for _, c := range []struct {
		sampler string
		n       int
		want    []int
	}{
		{"ddim", 3, []int{1, 1, 1}},
		{"dpm-solver++", 5, []int{1, 2, 2, 2, 1}},
		{"dpm-solver++3m", 6, []int{1, 2, 3, 3, 2, 1}},
		{"dpm-solver++3m", 1, []int{1}},
		{"pndm", 6, []int{1, 2, 3, 4, 4, 4}},
		{"heun", 3, []int{2, 2, 1}},
	} {
		if got := order(stepsOf(t, c.sampler, c.n)); !slices.Equal(got, c.want) {
			t.Errorf("%s of %d: orders %v; want %v", c.sampler, c.n, got, c.want)
		}
	}
	if steps := stepsOf(t, "dpm-solver++", 20); steps[19].Order != 2 {
		t.Errorf("dpm-solver++ of 20 ends with order %d; want 2, since it has 15 steps or more", steps[19].Order)
	}
}

// A searched schedule is a file in either form; both give the same steps.
func TestScheduleFiles(t *testing.T) {
	const inTOML = `source = "a search"
[[step]]
time = 999
evaluations = 0
[[step]]
time = 700.5
order = 2
corrector = true
[[step]]
time = 120
guided = false
cached = 0.5
`
	const inCSV = `time, order, corrector, evaluations, guided, cached
# a search
999,,,0,,
700.5,2,true,,,
120,,,,false,0.5
`
	want := []SolverStep{
		{Time: 999, Order: 1},
		{Time: 700.5, Order: 2, Corrector: true, Evaluations: 1},
		{Time: 120, Order: 1, Evaluations: 1, Unguided: true, Cached: 0.5},
	}
	for file, text := range map[string]string{"s.toml": inTOML, "s.csv": inCSV} {
		path := filepath.Join(t.TempDir(), file)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if steps := stepsOf(t, path, 3); !slices.Equal(steps, want) {
			t.Errorf("%s: %+v; want %+v", file, steps, want)
		}
		s, err := LoadSampler(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Steps(4); err == nil || !strings.Contains(err.Error(), "knows 3") {
			t.Errorf("4 steps of a schedule of 3: error %v", err)
		}
	}
}

// What is wrong with a schedule is said in one line, with the file and the line.
func TestScheduleErrors(t *testing.T) {
	for _, c := range []struct{ file, text, want string }{
		{"a.toml", "", "a.toml: 0 steps: want from 1"},
		{"a.toml", "[[step]]\ntime = 9\n[[step", "a.toml:3:"},
		{"a.toml", "[[step]]\ntime = 9\n\n[[ step ]]\ntime = 10", "a.toml:4: step 2: time 10 is not below the 9"},
		{"a.toml", "[[step]]\norder = 1", "a.toml:1: step 1: time is missing"},
		{"a.toml", "[[step]]\ntime = 9\norder = 2", "order is 2 with 0 steps before: want at most 1"},
		{"a.toml", "[[step]]\ntime = 9\norder = 5", "order is 5; want from 1 to 4"},
		{"a.toml", "[[step]]\ntime = 9\ncorrector = true", "nothing to correct"},
		{"a.toml", "[[step]]\ntime = 9\ncached = 1.0", "cached is 1; want a share from 0, below 1"},
		{"a.toml", "[[step]]\ntime = 9\nevaluations = 0", "no step evaluates the network"},
		{"a.toml", "[[step]]\ntime = 9\ncolour = 3", `unknown key "step.colour"`},
		{"a.toml", "family = \"flwow\"\n[[step]]\ntime = 9", "did you mean flow"},
		{"a.csv", "", "a.csv:1: empty"},
		{"a.csv", "time\n", "a.csv: 0 steps"},
		{"a.csv", "tim\n3\n", "a.csv:2: there is no column named \"tim\"; did you mean time"},
		{"a.csv", "time,order\n9,1\n8\n", "a.csv:3:"},
		{"a.csv", "time\n9\n\n8\nx\n", `a.csv:5: time is "x": want a number`},
		{"a.csv", "time\n\"9", "a.csv:2:"},
		{"a.csv", "time\nNaN\n", "a.csv:2: step 1: time is missing or no number"},
	} {
		_, err := ParseSchedule([]byte(c.text), c.file)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v; want %q in it", c.text, err, c.want)
		}
	}
	if _, err := LoadSampler("/nowhere/s.csv"); err == nil || !strings.Contains(err.Error(), "/nowhere/s.csv") {
		t.Errorf("a missing file: error %v", err)
	}
	if _, err := LoadSampler("dpm++"); err == nil || !strings.Contains(err.Error(), "want one of ddim") && !strings.Contains(err.Error(), "did you mean") {
		t.Errorf("an unknown sampler: error %v", err)
	}
}

// Whatever a file holds, it is a list of steps that keeps the rules, or an error.
func FuzzParseSchedule(f *testing.F) {
	f.Add("a.toml", []byte("[[step]]\ntime = 999\n[[step]]\ntime = 1\norder = 2"))
	f.Add("a.csv", []byte("time,order\n999,1\n1,2\n"))
	f.Add("a.csv", []byte("time\n1e400\n"))
	f.Add("a.toml", []byte("step = 3"))
	f.Fuzz(func(t *testing.T, file string, data []byte) {
		s, err := ParseSchedule(data, file)
		if err != nil {
			return
		}
		steps, err := s.Steps(s.StepsOf[0])
		if err != nil {
			return // more steps than there are noise levels
		}
		for i := range steps {
			if err := checkStep(steps, i); err != nil {
				t.Error(err)
			}
		}
	})
}
