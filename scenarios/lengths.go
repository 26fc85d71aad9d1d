package scenarios

import (
	"fmt"
	"math"

	"orrery/workloads/trace"
)

// lengthPart is a source of prompt and output lengths with its own keys.
type lengthPart interface {
	lengths() trace.Lengths
	check(c *checker)
	// least returns the fewest tokens that a request can have in all.
	least() int
	describe() string
}

// lengthSources is the table of distributions of lengths. Beside them, each table of
// trace.Tables can be named.
var lengthSources = []struct {
	Name
	make func() lengthPart
}{
	{Name{"fixed", "every request alike: prompt, output"}, func() lengthPart { return &fixed{Prompt: 512, Output: 128} }},
	{Name{"normal", "prompt_mean, prompt_std, output_mean, output_std"},
		func() lengthPart {
			return &normal{PromptMean: 512, PromptStd: 256, OutputMean: 512, OutputStd: 256}
		}},
	{Name{"lognormal", "prompt_median, prompt_sigma, output_median, output_sigma"},
		func() lengthPart {
			return &lognormal{PromptMedian: 512, PromptSigma: 1, OutputMedian: 256, OutputSigma: 0.7}
		}},
	{Name{"uniform", "prompt_min, prompt_max, output_min, output_max"},
		func() lengthPart { return &uniform{PromptMin: 1, PromptMax: 1024, OutputMin: 1, OutputMax: 512} }},
	{Name{noLengths, "of traffic that asks for images only"}, func() lengthPart { return &unasked{} }},
	{Name{"file", "rows of a CSV file, drawn without replacement: file"}, func() lengthPart { return &lengthFile{} }},
}

// LengthSources returns what traffic.lengths may be: the embedded tables of
// quantiles, then the distributions.
func LengthSources() []Name {
	var out []Name
	for _, name := range trace.Tables() {
		n := Name{Name: name}
		if q, err := trace.LoadTable(name); err == nil {
			n.What = q.Title
		}
		out = append(out, n)
	}
	for i := range lengthSources {
		out = append(out, lengthSources[i].Name)
	}
	return out
}

// lengths returns the chosen source of lengths, as [decoder.arrivals] does.
func (d *decoder) lengths(s *Scenario) (string, lengthPart) {
	def := "chat"
	if !s.text {
		def = noLengths
	}
	name := d.choose("traffic", "lengths", def)
	if s.text == (name == noLengths) {
		d.errorf("traffic.lengths", "traffic.lengths is %q; want %s", name, map[bool]string{
			true: "the lengths of the text that is asked for, such as \"chat\"", false: "it removed: images have no lengths"}[s.text])
	}
	for _, l := range lengthSources {
		if l.Name.Name == name {
			return name, l.make()
		}
	}
	if q, err := trace.LoadTable(name); err == nil {
		return name, &table{name: name, longest: q.MaxTotal}
	}
	d.unknown("traffic.lengths", "table or distribution of lengths", name, namesOf(LengthSources()))
	return name, &fixed{Prompt: 1, Output: 1}
}

// capped applies a cap of the total, 0 for none.
func capped(l lengthPart, most int) trace.Lengths {
	if most == 0 {
		return l.lengths()
	}
	return trace.Capped{Of: l.lengths(), MaxTotal: most}
}

// checkLengths refuses lengths of which no request could be served, and caps
// without effect. That some requests of a distribution are too long is the
// traffic's business: they are rejected and counted.
func checkLengths(c *checker, l lengthPart, most, system int) {
	before := len(c.d.errs)
	l.check(c)
	if most != 0 && (most < 2 || most > trace.MaxTokens) {
		c.fail("max_total", "is %d; want at least 2 tokens, one of prompt and one of output, or 0 for no cut", most)
	}
	if len(c.d.errs) > before || c.maxLen == 0 {
		return
	}
	if most > 0 && most+system > c.maxLen {
		c.fail("max_total", "is %d%s, beyond the longest sequence served; want at most model.max_len, %d", most, beside(system), c.maxLen)
		return
	}
	if least := l.least(); most == 0 && least+system > c.maxLen {
		c.fail("lengths", "gives requests of at least %d tokens%s, beyond the longest sequence served; want at most model.max_len, %d", least, beside(system), c.maxLen)
	}
}

func beside(system int) string {
	if system == 0 {
		return ""
	}
	return fmt.Sprintf(" beside system_tokens, %d", system)
}

// noLengths is what stands for lengths where no text is asked for.
const noLengths = "none"

// unasked is the lengths of requests for images, which take their steps from a class.
type unasked struct{}

func (*unasked) lengths() trace.Lengths { return (&fixed{Prompt: 1, Output: 1}).lengths() }
func (*unasked) check(*checker)         {}
func (*unasked) least() int             { return 2 }
func (*unasked) describe() string       { return "" }

// described says which lengths are asked for, if any are.
func described(l lengthPart) string {
	if text := l.describe(); text != "" {
		return ", lengths " + text
	}
	return ""
}

// table is an embedded table of quantiles. It has no keys.
type table struct {
	name    string
	longest int // longest request of the source, 0 if it names none
}

func (t *table) lengths() trace.Lengths { return trace.Table{Name: t.name} }
func (t *table) check(*checker)         {}
func (t *table) least() int             { return 2 }
func (t *table) describe() string       { return t.name }

type fixed struct {
	Prompt int `toml:"prompt"` // tokens, default 512
	Output int `toml:"output"` // tokens, default 128
}

func (f *fixed) lengths() trace.Lengths {
	return trace.Joint{Prompt: trace.Fixed{Value: float64(f.Prompt)}, Output: trace.Fixed{Value: float64(f.Output)}}
}

func (f *fixed) check(c *checker) {
	c.count("prompt", int64(f.Prompt), 1)
	c.count("output", int64(f.Output), 1)
}

func (f *fixed) least() int       { return f.Prompt + f.Output }
func (f *fixed) describe() string { return fmt.Sprintf("fixed: %d + %d tokens", f.Prompt, f.Output) }

// correlated is what joint distributions have.
type correlated struct {
	// Correlation couples prompt and output by their normal scores, -1 to 1,
	// default 0.
	Correlation float64 `toml:"correlation"`
}

func (x *correlated) check(c *checker) {
	if !(x.Correlation >= -1 && x.Correlation <= 1) {
		c.fail("correlation", "is %s; want -1 to 1", floatText(x.Correlation))
	}
}

type normal struct {
	PromptMean float64 `toml:"prompt_mean"` // tokens, default 512
	PromptStd  float64 `toml:"prompt_std"`  // default 256
	OutputMean float64 `toml:"output_mean"` // default 512
	OutputStd  float64 `toml:"output_std"`  // default 256
	correlated
}

func (n *normal) lengths() trace.Lengths {
	return trace.Joint{Prompt: trace.Normal{Mean: n.PromptMean, Std: n.PromptStd}, Output: trace.Normal{Mean: n.OutputMean, Std: n.OutputStd}, Correlation: n.Correlation}
}

func (n *normal) check(c *checker) {
	c.tokens("prompt_mean", n.PromptMean)
	c.number("prompt_std", n.PromptStd, "tokens")
	c.tokens("output_mean", n.OutputMean)
	c.number("output_std", n.OutputStd, "tokens")
	n.correlated.check(c)
}

func (n *normal) least() int {
	if n.PromptStd+n.OutputStd == 0 {
		return int(math.Round(n.PromptMean) + math.Round(n.OutputMean))
	}
	return 2
}

func (n *normal) describe() string {
	return fmt.Sprintf("normal: %s +- %s prompt, %s +- %s output tokens", short(n.PromptMean), short(n.PromptStd), short(n.OutputMean), short(n.OutputStd))
}

type lognormal struct {
	PromptMedian float64 `toml:"prompt_median"` // tokens, default 512
	PromptSigma  float64 `toml:"prompt_sigma"`  // standard deviation of the logarithm, default 1
	OutputMedian float64 `toml:"output_median"` // default 256
	OutputSigma  float64 `toml:"output_sigma"`  // default 0.7
	correlated
}

func (n *lognormal) lengths() trace.Lengths {
	return trace.Joint{Prompt: trace.LogNormal{Median: n.PromptMedian, Sigma: n.PromptSigma}, Output: trace.LogNormal{Median: n.OutputMedian, Sigma: n.OutputSigma}, Correlation: n.Correlation}
}

func (n *lognormal) check(c *checker) {
	c.tokens("prompt_median", n.PromptMedian)
	c.number("prompt_sigma", n.PromptSigma, "standard deviation of the logarithm")
	c.tokens("output_median", n.OutputMedian)
	c.number("output_sigma", n.OutputSigma, "standard deviation of the logarithm")
	n.correlated.check(c)
}

func (n *lognormal) least() int { return 2 }

func (n *lognormal) describe() string {
	return fmt.Sprintf("lognormal: medians %s prompt, %s output tokens", short(n.PromptMedian), short(n.OutputMedian))
}

type uniform struct {
	PromptMin int `toml:"prompt_min"` // tokens, default 1
	PromptMax int `toml:"prompt_max"` // default 1024
	OutputMin int `toml:"output_min"` // default 1
	OutputMax int `toml:"output_max"` // default 512
	correlated
}

func (u *uniform) lengths() trace.Lengths {
	return trace.Joint{
		Prompt:      trace.Uniform{Min: float64(u.PromptMin), Max: float64(u.PromptMax)},
		Output:      trace.Uniform{Min: float64(u.OutputMin), Max: float64(u.OutputMax)},
		Correlation: u.Correlation,
	}
}

func (u *uniform) check(c *checker) {
	for _, r := range []struct {
		key      string
		low, top int
	}{{"prompt", u.PromptMin, u.PromptMax}, {"output", u.OutputMin, u.OutputMax}} {
		c.count(r.key+"_min", int64(r.low), 1)
		if r.top < r.low || r.top > trace.MaxTokens {
			c.fail(r.key+"_max", "is %d; want %s_min, %d, to %d", r.top, r.key, r.low, trace.MaxTokens)
		}
	}
	u.correlated.check(c)
}

func (u *uniform) least() int { return u.PromptMin + u.OutputMin }

func (u *uniform) describe() string {
	return fmt.Sprintf("uniform: %d to %d prompt, %d to %d output tokens", u.PromptMin, u.PromptMax, u.OutputMin, u.OutputMax)
}

// lengthFile is [trace.LengthFile] in a scenario.
type lengthFile struct {
	File string `toml:"file"` // CSV, perhaps gzip-compressed, with prompt_tokens and output_tokens
}

func (f *lengthFile) lengths() trace.Lengths { return trace.LengthFile{Path: f.File} }
func (f *lengthFile) least() int             { return 2 }
func (f *lengthFile) describe() string       { return "from " + f.File }

func (f *lengthFile) check(c *checker) {
	if f.File == "" {
		c.fail("file", "%v", errNoFile)
		return
	}
	f.File = c.path("file", f.File)
	if _, err := f.lengths().Draws(0); err != nil {
		c.wrap("file", err)
	}
}
