package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// hostile are values that no key wants, and some that a few do.
var hostile = []string{
	"-1", "0", "0.5", "nan", "inf", "1e300", "9223372036854775807", "16777217",
	`""`, `"x"`, `"0s"`, `"2562047h"`, `"\u0000\n"`, "true", "[]", "[{}]", "{}", "2026-11-22",
}

// Every key of every shipped scenario, and of every part that could have been chosen,
// meets every hostile value: the answer is one line, or a scenario that can be built
// and written down.
func TestHostileValues(t *testing.T) {
	if testing.Short() {
		t.Skip("loads thousands of scenarios")
	}
	base := []string{}
	for _, name := range Names() {
		if !strings.HasPrefix(name, "papers/") {
			base = append(base, name)
		}
	}
	cases := map[string][][]string{"quickstart": {{"traffic.source=closed-loop", "traffic.requests=10"}, {"traffic.source=sessions", "traffic.sessions=3"}}}
	for _, p := range batchPolicies {
		cases["quickstart"] = append(cases["quickstart"], []string{"policy.batch=" + p.Name.Name, "policy.max_seqs=8"})
	}
	for _, a := range arrivalProcesses {
		sets := []string{"traffic.arrivals=" + a.Name.Name}
		if a.Name.Name == "piecewise" {
			sets = append(sets, `traffic.segments=[{ duration = "1m", rate = 2.0 }]`)
		}
		cases["quickstart"] = append(cases["quickstart"], sets)
	}
	for _, l := range lengthSources {
		if l.Name.Name != "file" && l.Name.Name != noLengths {
			cases["quickstart"] = append(cases["quickstart"], []string{"traffic.lengths=" + l.Name.Name})
		}
	}
	cases["quickstart"] = append(cases["quickstart"], []string{"cost.kind=affine", "cost.iteration=0.01"}, []string{"policy.route=shared-queue"})
	for _, name := range base {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, sets := range append(cases[name], nil) {
				s, err := Load(name, sets...)
				if err != nil {
					t.Fatal(sets, err)
				}
				if len(s.Classes) > 0 {
					continue // prices its pipelines at every load; TestHostileImages stands for it
				}
				for _, sec := range s.sections() {
					switch {
					case sec.absent:
						continue // about text where there is none
					case len(sets) > 0 && !strings.HasPrefix(sets[0], sec.name):
						continue // as without these overrides
					case name != "quickstart" && sec.name != "traffic":
						continue // as in the quickstart
					}
					for _, target := range sec.targets {
						for _, f := range fields(target) {
							for _, v := range hostile {
								meet(t, name, append(sets[:len(sets):len(sets)], sec.name+"."+f.key+"="+v))
							}
						}
					}
				}
			}
		})
	}
}

// meet loads a scenario with hostile overrides.
func meet(t *testing.T, name string, sets []string) {
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("%s %q: panic: %v", name, sets, p)
		}
	}()
	s, err := Load(name, sets...)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) || strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("%s %q: %T %q", name, sets, err, err)
		}
		return
	}
	if s.Hardware.Replicas > 1000 {
		return // would be built, but slowly
	}
	e, err := s.Build(1)
	if err != nil {
		t.Errorf("%s %q: accepted, but cannot be built: %v", name, sets, err)
		return
	}
	e.Close()
	again, err := Parse("again.toml", s.Resolved())
	if err != nil {
		t.Errorf("%s %q: accepted, but its resolved form is not: %v", name, sets, err)
	} else if !bytes.Equal(again.Resolved(), s.Resolved()) {
		t.Errorf("%s %q: resolved twice, differently", name, sets)
	}
}

// FuzzSet looks for an override that breaks the loader.
func FuzzSet(f *testing.F) {
	for _, v := range hostile {
		f.Add("traffic.rate=" + v)
	}
	for _, p := range Policies() {
		f.Add(fmt.Sprintf("policy={batch=%q}", p.Name))
	}
	f.Add(`traffic={source="sessions",rate=1,sessions=2}`)
	f.Add("compare.variant=[{label='x',set={slo={tbt='1s'}}}]")
	f.Fuzz(func(t *testing.T, set string) { meet(t, "quickstart", []string{set}) })
}
