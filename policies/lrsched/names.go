package lrsched

import (
	"slices"
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

// Load returns a profile by name.
func Load(name string) (Profile, error) {
	for _, n := range Profiles() {
		if n.Name == name || strings.EqualFold(n.Name, name) {
			return n.Profile, nil
		}
	}
	return nil, names.Unknown("schedule", name, Names())
}
