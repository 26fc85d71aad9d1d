package lrsched

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"orrery/internal/names"
)

// Named is a schedule with a name and what it is.
type Named struct {
	Name, What string
	Profile    Profile
}

// decay is the exponent of the exponential schedule in the comparisons of the REX paper's
// kind: it ends at 5 % of the peak.
const decay = 3

var named = []Named{
	{"constant", "no schedule", Constant},
	{"linear", "falls to zero", Linear},
	{"cosine", "falls to zero along half a wave", Cosine},
	{"exponential", "falls to 5 % of the peak", Exponential(decay)},
	{"step-50-75", "a tenth from half of the run on, a hundredth from three quarters on", Steps(0.5, 0.75)},
	{"step-30-60-90", "a tenth more of it off at 30, 60 and 90 % of the run", Steps(0.3, 0.6, 0.9)},
	{"onecycle", "up and down in nine tenths of the run, then almost to zero", OneCycle},
	{"rex", "reflected exponential with beta 1/2, as published", REX(0.5)},
	{"rex-0.9", "reflected exponential with beta 0.9, as much-copied code has it", REX(0.9)},
	{"polynomial", "a warm-up of 10 % of the run, then down as the square of what is left", Polynomial(0.1, 2)},
}

// approximations are the warm-up and the power that the authors of the refined schedule laid
// over theirs by eye, by task (facebookresearch/adaptive_scheduling, visual.py). Where they
// give a power of none it is 1.
var approximations = []struct {
	task        string
	warm, power float64
}{
	{"dlrm", 0.20, 0.9}, {"gpt", 0.28, 1}, {"imagenet", 0.01, 3}, {"iwslt14", 0.08, 1},
	{"mri", 0.40, 0.9}, {"rcnn", 0, 1.5}, {"roberta", 0.45, 0.8}, {"vit", 0.07, 1},
}

// Profiles returns the profiles that have a name.
func Profiles() []Named {
	out := slices.Clone(named)
	for _, a := range approximations {
		out = append(out, Named{"refined-approx/" + a.task, "warm-up and power that approximate the refined schedule of that task", Polynomial(a.warm, a.power)})
	}
	return out
}

// Names returns their names.
func Names() []string {
	var out []string
	for _, n := range Profiles() {
		out = append(out, n.Name)
	}
	return out
}

// Load returns a profile by name. Wrappers may follow, inner ones first:
// "rex+warmup=0.05+cycles=2+points=20" is [Sampled] at 20 points of [Cyclic] twice of [WarmUp] over 5 % of [REX].
func Load(name string) (Profile, error) {
	base, wrappers, wrapped := strings.Cut(name, "+")
	i := slices.IndexFunc(Profiles(), func(n Named) bool { return strings.EqualFold(n.Name, base) })
	if i < 0 {
		return nil, names.Unknown("schedule", base, Names())
	}
	p := Profiles()[i].Profile
	if !wrapped {
		return p, nil
	}
	for w := range strings.SplitSeq(wrappers, "+") {
		var err error
		if p, err = wrap(w, p); err != nil {
			return nil, fmt.Errorf("schedule %q: %w", name, err)
		}
	}
	return p, nil
}

// mostCycles bounds what a wrapper may ask for.
const mostCycles = 1_000_000

// wrap puts a wrapper such as warmup=0.05 around p.
func wrap(text string, p Profile) (Profile, error) {
	key, value, _ := strings.Cut(text, "=")
	switch key {
	case "warmup":
		share, err := strconv.ParseFloat(value, 64)
		if err != nil || !(share >= 0 && share < 1) {
			return nil, fmt.Errorf("warmup is %q; want a share of the run, at least 0 and below 1", value)
		}
		return WarmUp(share, p), nil
	case "cycles", "points":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > mostCycles {
			return nil, fmt.Errorf("%s is %q; want a whole number, 1 to %d", key, value, mostCycles)
		}
		if key == "cycles" {
			return Cyclic(n, p), nil
		}
		return Sampled(n, p), nil
	}
	return nil, names.Unknown("wrapper of schedules", key, []string{"warmup", "cycles", "points"})
}
