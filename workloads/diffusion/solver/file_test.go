package solver

import (
	"reflect"
	"strings"
	"testing"
)

// What is written is read back, every solver on every grid.
func TestFilesKeepSchedules(t *testing.T) {
	for _, g := range Grids() {
		for _, f := range Solvers() {
			for _, nfe := range []int{3, 5, 9} {
				s, err := f.Schedule(nfe, g)
				if err != nil {
					continue
				}
				s.Steps[len(s.Steps)-1].Relax = 0.0125
				data := Encode(s, Note{Source: `a "quoted" source`, Quality: []Figure{{"rmse", 0.1}}})
				got, err := Parse(data, "s.toml")
				if err != nil {
					t.Fatalf("%s on %s: %v\n%s", f.Name, g.Name, err, data)
				}
				for i := range s.Times {
					if d := s.Times[i] - got.Times[i]; d > 1e-15 || d < -1e-15 {
						t.Errorf("%s on %s: time %v is read as %v", f.Name, g.Name, s.Times[i], got.Times[i])
					}
				}
				for i := range s.Steps {
					s.Steps[i].Back, got.Steps[i].Back = max(s.Steps[i].Back, 1), max(got.Steps[i].Back, 1)
				}
				if !reflect.DeepEqual(s.Steps, got.Steps) || s.First != got.First {
					t.Errorf("%s on %s: read as %+v", f.Name, g.Name, got)
				}
			}
		}
	}
}

func TestSchedulesThatMakeNoSenseAreRefused(t *testing.T) {
	f, err := LoadFixed("unipc-3")
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Schedule(5, grids[2])
	if err != nil {
		t.Fatal(err)
	}
	whole := string(Encode(s, Note{Source: "a test"}))
	change := func(old, other string) string {
		if !strings.Contains(whole, old) {
			t.Fatalf("no %q in\n%s", old, whole)
		}
		return strings.Replace(whole, old, other, 1)
	}
	last := strings.LastIndex(whole, "[[step]]")
	for _, c := range []struct{ text, want string }{
		{change("version = 1", "version = 2"), "s.toml: version is 2; want 1"},
		{change("steps = 5", "steps = 6"), "s.toml: 5 steps where the file says 6"},
		{whole[:last], "s.toml: 4 steps where the file says 5: it is torn"},
		{whole[:last+20], "s.toml:"},
		{change("order = 1", "order = 2"), "s.toml: step 1: order is 2 with 0 steps before; want at most 1"},
		{change("order = 3", "order = 5"), "s.toml: step 3: order is 5; want from 1 to 4"},
		{change("time = 999.0", "time = 2000.0"), "s.toml: time 2.001; want times above 0"},
		{change("time = 999.0", "time = 10.0"), "s.toml: step 2: time"},
		{change("time = 999.0\n", ""), "s.toml: step 1: no time"},
		{change(`prediction = "data"`, `prediction = "image"`), `s.toml: step 1: there is no prediction named "image"; want one of data, noise`},
		{change("evaluations = 1", "evaluations = 0"), "s.toml: step 1: evaluations is 0; want 1 here"},
		{change(`first = "asked"`, `first = "none"`), `s.toml: there is no first named "none"`},
		{change("family", "familly"), `s.toml: unknown key "familly"`},
		{"version = 1\nsteps = 0\n", "s.toml: 0 steps"},
	} {
		_, err := Parse([]byte(c.text), "s.toml")
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v; want %s", err, c.want)
		}
	}
	for _, nfe := range []int{0, -1, maxSteps + 1} {
		if _, err := f.Schedule(nfe, grids[0]); err == nil {
			t.Errorf("NFE %d is taken", nfe)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"ddim", "unipc-3", "heun", "3s", "deis-3"} {
		solver, err := LoadFixed(name)
		if err != nil {
			f.Fatal(err)
		}
		s, err := solver.Schedule(5, grids[2])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(Encode(s, Note{}))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse(data, "s.toml")
		if err != nil {
			return
		}
		if s.NFE() < 1 {
			t.Errorf("NFE %d is taken", s.NFE())
		}
		compile(s)
		for i, at := range s.Times[1:] {
			if s.Times[i]-at < 1e-9 {
				return // times so close may meet where they are written as levels
			}
		}
		again, err := Parse(Encode(s, Note{}), "s.toml")
		if err != nil || !reflect.DeepEqual(again.Steps, s.Steps) {
			t.Errorf("%v: a schedule that was read is not written as such", err)
		}
	})
}
