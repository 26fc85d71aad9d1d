package cmd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"orrery/calibrate"
	"orrery/internal/whole"
)

// fitRequests fits the iterations of an engine to the times of its requests, and writes
// them as the section [cost] of a scenario.
func (a *app) fitRequests(m *calibrate.Measured, files []string, f *fitFlags) error {
	ts := m.Requests
	if f.gpu != "" {
		ts = slices.DeleteFunc(slices.Clone(ts), func(t calibrate.Timing) bool { return t.GPU != f.gpu })
		if len(ts) == 0 {
			return inputErrorf("no request of %s is of GPU %q", strings.Join(files, ", "), f.gpu)
		}
	}
	fit, err := calibrate.FitRequests(ts, calibrate.Rules{Budget: f.budget, MaxSeqs: f.maxSeqs})
	if err != nil {
		return badInput{err}
	}
	out := f.out
	if out == "" {
		out = ts[0].GPU + "-cost.toml"
	}
	text, err := costSection(fit, &ts[0], files)
	if err != nil {
		return err
	}
	if err := whole.Write(out, []byte(text)); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "%s\ncost in %s: put it into a scenario in place of its section [cost]\n", text, out)
	return nil
}

// costSection writes a fit as the section of a scenario, with what it rests on.
func costSection(fit *calibrate.RequestFit, of *calibrate.Timing, files []string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "# Iterations of %s on %s, fitted by orrery calibrate fit to the requests of\n# %s.\n", of.Model, of.GPU, strings.Join(files, ", "))
	fmt.Fprintf(&b, "# Median and p90 error on requests held out: first to last token %s %% and %s %%,\n# prefill %s %% and %s %%, of %d fitted and %d held out.\n",
		share(fit.Decode.HeldOutMedian), share(fit.Decode.HeldOutP90), share(fit.Prefill.HeldOutMedian), share(fit.Prefill.HeldOutP90), fit.Decode.Rows, fit.Decode.HeldOutRows)
	b.WriteString("[cost]\nkind = \"affine\"\n")
	c := &fit.Cost
	err := toml.NewEncoder(&b).Encode(struct {
		Iteration        float64 `toml:"iteration"`
		PrefillToken     float64 `toml:"prefill_token"`
		Sequence         float64 `toml:"sequence"`
		ContextToken     float64 `toml:"context_token"`
		ChunkContext     float64 `toml:"chunk_context"`
		PrefillIteration float64 `toml:"prefill_iteration"`
	}{
		calibrate.Round(c.Iteration), calibrate.Round(c.PrefillToken), calibrate.Round(c.Sequence),
		calibrate.Round(c.ContextToken), calibrate.Round(c.ChunkContext), calibrate.Round(c.PrefillIteration),
	})
	return b.String(), err
}

func share(x float64) string { return fmt.Sprintf("%.1f", 100*x) }
