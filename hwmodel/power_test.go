package hwmodel

import (
	"math"
	"strings"
	"testing"
)

// A device draws its idle watts, more with work, and never more than its limit.
func TestPower(t *testing.T) {
	p := Power{Kind: TextWork, Idle: 100, Serving: 50, Compute: 1000, Memory: 400, Limit: 700}
	for _, c := range []struct {
		e    Exertion
		want float64
	}{
		{Exertion{}, 100},
		{Exertion{Busy: 1}, 150},
		{Exertion{Busy: 1, Memory: 0.5}, 350},
		{Exertion{Busy: 1, Compute: 0.1, Memory: 0.5}, 450},
		{Exertion{Busy: 1, Compute: 0.9, Memory: 0.5}, 700},
		{Exertion{Busy: 0.5, Compute: 0.9}, 400}, // at the limit half of the time
	} {
		if got := p.Watts(c.e); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%+v: %g W, want %g", c.e, got, c.want)
		}
	}
	half := p.Scaled(350)
	if e := (Exertion{Busy: 1, Compute: 0.1, Memory: 0.5}); math.Abs(half.Watts(e)-225) > 1e-9 || half.Kind != TextWork {
		t.Errorf("half the board draws %g W, want 225", half.Watts(e))
	}
}

// Every device that comes with the program has a limit on its data sheet, and so a power for
// both kinds of work; all but the two boards that were measured say that it is derived.
func TestEveryDeviceHasPower(t *testing.T) {
	for _, name := range Names() {
		p, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []string{TextWork, ImageWork} {
			q := p.PowerFor(kind)
			if q == nil {
				t.Errorf("%s has no power on work of kind %s", name, kind)
				continue
			}
			measured := name == "a100-sxm-40gb" || name == "h100-sxm-80gb"
			if q.Limit != p.Device.Watts || q.Derived == measured || q.Source == "" {
				t.Errorf("%s, %s: limit %g of %g W, derived %v, source %q", name, kind, q.Limit, p.Device.Watts, q.Derived, q.Source)
			}
		}
	}
}

// Watts that cannot be are refused, by name.
func TestPowerIsChecked(t *testing.T) {
	for want, p := range map[string]Power{
		"power[0].idle is 0":                    {Kind: TextWork, Limit: 400},
		`power[0].kind is "games"`:              {Kind: "games", Idle: 50, Limit: 400},
		"power[0].memory is -1":                 {Kind: TextWork, Idle: 50, Memory: -1, Limit: 400},
		"together above the limit 400":          {Kind: TextWork, Idle: 50, Serving: 351, Limit: 400},
		"power[0].compute is NaN, must be 0 or": {Kind: TextWork, Idle: 50, Compute: math.NaN(), Limit: 400},
	} {
		c := checker{}
		c.power("power[0]", &p)
		if c.err == nil || !strings.Contains(c.err.Error(), want) {
			t.Errorf("got %v, want %q", c.err, want)
		}
	}
}
