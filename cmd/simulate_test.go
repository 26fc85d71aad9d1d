package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"orrery/scenarios"
)

// A run that panics, or breaks a law, must leave what is needed to repeat it.
func TestCrashSaysHowToRepeatIt(t *testing.T) {
	s, err := scenarios.Load("quickstart", "traffic.rate=1.25")
	if err != nil {
		t.Fatal(err)
	}
	law := &scenarios.BrokenLaw{Scenario: s.Name, Seed: 77, Version: "v", Err: errors.New("two blocks too many")}
	for _, run := range []func() error{
		func() error { panic("two blocks too many") },
		func() error { return law },
	} {
		var out, log bytes.Buffer
		a := &app{out: &out, err: &log}
		if got := a.status(guarded(s, 77, run)); got != exitFailure {
			t.Errorf("exit status %d, want %d", got, exitFailure)
		}
		for _, want := range []string{"two blocks too many", "seed 77", scenarios.Version(), "rate = 1.25", `name = "quickstart"`} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("%q is missing in\n%s", want, log.String())
			}
		}
		if out.Len() > 0 {
			t.Errorf("standard output has %q", out.String())
		}
	}
	if err := guarded(s, 1, func() error { return nil }); err != nil {
		t.Error(err)
	}
}

func TestStatusOfErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, exitOK},
		{fmt.Errorf("writing: %w", syscall.ENOSPC), exitFailure},
		{inputErrorf("no"), exitBadInput},
		{fmt.Errorf("%w (with a=b)", &scenarios.Error{File: "a.toml", Line: 3, Msg: "no"}), exitBadInput},
		{errInterrupted, exitInterrupted},
		{errNothing, exitInterrupted},
	} {
		var log bytes.Buffer
		a := &app{err: &log}
		if got := a.status(c.err); got != c.want {
			t.Errorf("%v: exit status %d, want %d", c.err, got, c.want)
		}
		if strings.Count(log.String(), "\n") > 1 {
			t.Errorf("%v: more than one line: %q", c.err, log.String())
		}
	}
}

func TestValuesToVaryAreSplitAtCommas(t *testing.T) {
	axes, err := parseVary([]string{"policy.batch=vllm,sarathi", `traffic.segments=[{ rate = 1 }, { rate = 2 }],[]`, `name="a,b",c`})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%q", axes); got != `[{"policy.batch" ["vllm" "sarathi"]} {"traffic.segments" ["[{ rate = 1 }, { rate = 2 }]" "[]"]} {"name" ["\"a,b\"" "c"]}]` {
		t.Error(got)
	}
	all := product(axes)
	if len(all) != 8 || strings.Join(all[1].sets, " ") != "policy.batch=vllm traffic.segments=[{ rate = 1 }, { rate = 2 }] name=c" {
		t.Errorf("%d combinations, the second %q", len(all), all[1].sets)
	}
	for key, want := range map[string]string{"512": "budget 512", "vllm": "vllm", `"x"`: "x", "true": "budget true", "1s": "budget 1s"} {
		if got := word("policy.budget", key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	for _, bad := range []string{"", "policy.batch", "policy.batch=", "=a", "a=b,,c"} {
		if _, err := parseVary([]string{bad}); err == nil {
			t.Errorf("--vary %q is accepted", bad)
		}
	}
}
