package scenarios

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"orrery/workloads/trace"
)

// checker notes what is wrong with the values of one section.
type checker struct {
	d       *decoder
	s       *Scenario
	section string
	maxLen  int // longest sequence served, 0 if it is not known
}

// fail notes what is wrong with a key of the section. The message goes on after the
// key and says what would be right.
func (c *checker) fail(key, format string, args ...any) {
	path := join(c.section, key)
	c.d.errorf(path, "%s "+format, append([]any{path}, args...)...)
}

// wrap notes an error of a package below about a key.
func (c *checker) wrap(key string, err error) {
	path := join(c.section, key)
	c.d.errorf(path, "%s: %w", path, err)
}

// note and flag add to what the results say about the scenario: how it was
// understood, and what makes its figures doubtful.
func (c *checker) note(format string, args ...any) {
	c.s.notes = append(c.s.notes, fmt.Sprintf(format, args...))
}

func (c *checker) flag(format string, args ...any) {
	c.s.flags = append(c.s.flags, fmt.Sprintf(format, args...))
}

// given tells whether the scenario sets a key.
func (c *checker) given(key string) bool {
	_, ok := c.d.doc.at[join(c.section, key)]
	return ok
}

// number refuses what is negative or not finite.
func (c *checker) number(key string, x float64, unit string) {
	if !(x >= 0 && x <= math.MaxFloat64) {
		c.fail(key, "is %s; want a finite number, at least 0 (%s)", floatText(x), unit)
	}
}

// rate refuses what is not a rate of arrivals.
func (c *checker) rate(key string, x float64) {
	const most = 1e9 // one a tick of the clock
	switch {
	case x == 0 && !c.given(key):
		c.fail(key, "is missing; want requests per second, above 0")
	case !(x > 0 && x <= most):
		c.fail(key, "is %s; want requests per second, above 0 and at most 1e9", floatText(x))
	}
}

// tokens refuses what is not a mean length.
func (c *checker) tokens(key string, x float64) {
	if !(x > 0 && x <= trace.MaxTokens) {
		c.fail(key, "is %s; want tokens, above 0 and at most %d", floatText(x), trace.MaxTokens)
	}
}

// count refuses whole numbers below low, and so large that sums could overflow.
func (c *checker) count(key string, n, low int64) {
	if n < low || n > 1<<40 {
		c.fail(key, "is %d; want a whole number, at least %d", n, low)
	}
}

// between refuses whole numbers outside low to high.
func (c *checker) between(key string, n, low, high int) {
	if n < low || n > high {
		c.fail(key, "is %d; want %d to %d", n, low, high)
	}
}

// checkCV refuses what is not a coefficient of variation.
func checkCV(c *checker, key string, x float64, zero bool) {
	if zero && x == 0 {
		return
	}
	if !(x >= 0.001 && x <= 1000) {
		c.fail(key, "is %s; want 0.001 to 1000 (standard deviation over mean)", floatText(x))
	}
}

// path returns the absolute path of a file: relative paths in a scenario start at
// its folder, those of overrides at the current one.
func (c *checker) path(key, p string) string {
	if !filepath.IsAbs(p) && c.d.doc.place(join(c.section, key)).from != fromCaller {
		p = filepath.Join(c.d.doc.dir, p)
	}
	if abs, err := filepath.Abs(p); err == nil {
		p = abs
	}
	if !c.mayRead(key, p) {
		return ""
	}
	return p
}

// in returns a checker of another section.
func (c *checker) in(section string) *checker {
	return &checker{d: c.d, s: c.s, section: section, maxLen: c.maxLen}
}

// checkRest checks the sections that depend on no other.
func (c *checker) checkRest(s *Scenario) {
	slo := c.in("slo")
	if !(s.SLO.Quantile > 0 && s.SLO.Quantile < 1) {
		slo.fail("quantile", "is %s; want a share between 0 and 1, such as 0.99", floatText(s.SLO.Quantile))
	}
	run := c.in("run")
	if s.Run.Until > 0 && s.Run.WarmUp >= s.Run.Until {
		run.fail("warm_up", "is %q, not before run.until, %q; want less", s.Run.WarmUp, s.Run.Until)
	}
	if s.Run.FirstToken != "prefill" && s.Run.FirstToken != "decode" {
		run.fail("first_token", `is %q; want "prefill" (as engines do) or "decode"`, s.Run.FirstToken)
	}
	if s.Run.Until == 0 && s.Traffic.part != nil && !s.Traffic.part.ends() {
		run.fail("until", `is not set and nothing else ends the run; want run.until = "10m", say, or a last request by way of [traffic]`)
	}
	for i, format := range s.Output.Rows {
		if format != "csv" && format != "parquet" {
			c.in("output").fail(fmt.Sprintf("rows[%d]", i), `is %q; want "csv" or "parquet"`, format)
		}
	}
	c.in("compare").between("seeds", s.Compare.Seeds, 1, 1000)
	c.in("capacity").capacity(&s.Capacity)
	c.in("sweep").sweep(&s.Sweep)
}

func (c *checker) capacity(k *Capacity) {
	c.number("low", k.Low, "requests per second, 0: unknown")
	c.number("high", k.High, "requests per second, 0: unknown")
	c.number("start", k.Start, "requests per second, 0: the rate of the traffic")
	if k.High > 0 && k.High <= k.Low {
		c.fail("high", "is %s, not above capacity.low, %s; want more, or 0 for unknown", floatText(k.High), floatText(k.Low))
	}
	if k.Start > 0 && (k.Start < k.Low || k.High > 0 && k.Start > k.High) {
		c.fail("start", "is %s, outside capacity.low to capacity.high; want a rate within, or 0", floatText(k.Start))
	}
	c.between("seeds", k.Seeds, 1, 1000)
	if !(k.Tolerance >= 1e-4 && k.Tolerance <= 0.5) {
		c.fail("tolerance", "is %s; want a relative width, 0.0001 to 0.5", floatText(k.Tolerance))
	}
}

// variants makes a scenario of each set of overrides, and refuses what the
// overrides do not fit.
func (c *checker) variants(s *Scenario) {
	var labels []string
	for i, v := range s.Compare.Variants {
		path := fmt.Sprintf("compare.variant[%d]", i)
		switch {
		case v.Label == "":
			c.d.errorf(path, "%s.label is missing; want a name for the variant", path)
		case slices.Contains(labels, v.Label):
			c.d.errorf(path+".label", "%s.label is %q, as of another variant; want each label once", path, v.Label)
		}
		labels = append(labels, v.Label)
		if _, ok := v.Set["compare"]; ok {
			c.d.errorf(path+".set.compare", "%s.set changes [compare] itself; want settings of the run", path)
			continue
		}
		doc := c.d.doc.clone()
		doc.drop("compare.variant")
		err := doc.merge(v.Set, func(key string) place {
			p := c.d.doc.place(join(path+".set", key))
			p.from = fromVariant
			return p
		})
		var variant *Scenario
		if err == nil {
			variant, err = resolve(doc)
		}
		if err != nil {
			e := err.(*Error)
			e.Msg = fmt.Sprintf("variant %q: %s", v.Label, e.Msg)
			c.d.errs = append(c.d.errs, e)
			continue
		}
		s.variants = append(s.variants, Variant{v.Label, variant})
	}
}
