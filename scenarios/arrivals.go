package scenarios

import (
	"fmt"
	"strconv"

	"orrery/workloads/trace"
)

// arrivalPart is an arrival process with its own keys.
type arrivalPart interface {
	arrivals() trace.Arrivals
	check(c *checker)
	ends() bool
	describe() string
}

// arrivalProcesses is the table of arrival processes.
var arrivalProcesses = []struct {
	Name
	make func() arrivalPart
}{
	{Name{"poisson", "independent arrivals: exponential gaps"}, func() arrivalPart { return &poisson{} }},
	{Name{"gamma", "bursty (cv above 1) or regular (below) arrivals"}, func() arrivalPart { return &gamma{CV: 1} }},
	{Name{"weibull", "bursty (shape below 1) or regular (above) arrivals"}, func() arrivalPart { return &weibull{Shape: 1} }},
	{Name{"clipped-exponential", "exponential gaps cut at three mean gaps, as in the artefact of Sarathi-Serve"},
		func() arrivalPart { return &clipped{} }},
	{Name{"constant", "equal gaps"}, func() arrivalPart { return &constant{} }},
	{Name{"piecewise", "Poisson arrivals of a rate that changes in steps"}, func() arrivalPart { return &piecewise{} }},
}

// ArrivalProcesses returns the arrival processes by name.
func ArrivalProcesses() []Name {
	out := make([]Name, len(arrivalProcesses))
	for i := range arrivalProcesses {
		out[i] = arrivalProcesses[i].Name
	}
	return out
}

// arrivals returns the chosen arrival process. An unknown name is noted, and stands
// for the default, so that other errors can be found.
func (d *decoder) arrivals() (string, arrivalPart) {
	name := d.choose("traffic", "arrivals", "poisson")
	for _, a := range arrivalProcesses {
		if a.Name.Name == name {
			return name, a.make()
		}
	}
	d.unknown("traffic.arrivals", "arrival process", name, namesOf(ArrivalProcesses()))
	return name, &poisson{}
}

// rated is what all processes of one rate have.
type rated struct {
	Rate float64 `toml:"rate"` // requests (or sessions) per second
}

func (r *rated) ends() bool { return false }

func (r *rated) check(c *checker) { c.rate("rate", r.Rate) }

func (r *rated) text(kind string) string {
	return fmt.Sprintf("%s arrivals at %s/s", kind, short(r.Rate))
}

type poisson struct{ rated }

func (p *poisson) arrivals() trace.Arrivals { return trace.Poisson{Rate: p.Rate} }
func (p *poisson) describe() string         { return p.text("Poisson") }

type gamma struct {
	rated
	CV float64 `toml:"cv"` // standard deviation of the gaps over their mean, default 1
}

func (g *gamma) arrivals() trace.Arrivals { return trace.Gamma{Rate: g.Rate, CV: g.CV} }
func (g *gamma) describe() string         { return g.text("gamma (CV " + short(g.CV) + ")") }

func (g *gamma) check(c *checker) {
	g.rated.check(c)
	checkCV(c, "cv", g.CV, false)
}

type weibull struct {
	rated
	Shape float64 `toml:"shape"` // exponent k of the survival function exp(-(t/scale)^k), default 1
}

func (w *weibull) arrivals() trace.Arrivals { return trace.Weibull{Rate: w.Rate, Shape: w.Shape} }
func (w *weibull) describe() string         { return w.text("Weibull (shape " + short(w.Shape) + ")") }

func (w *weibull) check(c *checker) {
	w.rated.check(c)
	if !(w.Shape >= 0.01 && w.Shape <= 1000) {
		c.fail("shape", "is %s; want 0.01 to 1000", floatText(w.Shape))
	}
}

type clipped struct{ rated }

func (p *clipped) arrivals() trace.Arrivals { return trace.ClippedExponential{Rate: p.Rate} }
func (p *clipped) describe() string         { return p.text("clipped exponential") }

type constant struct{ rated }

func (p *constant) arrivals() trace.Arrivals { return trace.Constant{Rate: p.Rate} }
func (p *constant) describe() string         { return p.text("constant") }

// piecewise takes its rate from segments, each in seconds after the one before.
type piecewise struct {
	Segments []segment `toml:"segments"`
	Cycle    bool      `toml:"cycle"` // start over after the last segment, default false: end
	// Rate scales all segments to this mean rate; 0 (default) takes them as they are.
	Rate float64 `toml:"rate"`
}

// segment is a stretch of constant rate: { duration = "10m", rate = 2.5 }.
type segment struct {
	Duration Duration `toml:"duration"`
	Rate     float64  `toml:"rate"` // requests per second, 0 for a pause
}

func (p *piecewise) ends() bool { return !p.Cycle }

func (p *piecewise) mean() float64 {
	var requests, length float64
	for _, s := range p.Segments {
		requests += float64(s.Rate * seconds(s.Duration))
		length += seconds(s.Duration)
	}
	return requests / length
}

func (p *piecewise) arrivals() trace.Arrivals {
	scale := 1.0
	if p.Rate > 0 {
		scale = p.Rate / p.mean()
	}
	a := trace.Piecewise{Cycle: p.Cycle}
	for _, s := range p.Segments {
		a.Segments = append(a.Segments, trace.Segment{Duration: seconds(s.Duration), Rate: s.Rate * scale})
	}
	return a
}

func (p *piecewise) check(c *checker) {
	if len(p.Segments) == 0 {
		c.fail("segments", `is missing; want at least one, as in segments = [{ duration = "10m", rate = 2.5 }]`)
		return
	}
	requests := false
	for i, s := range p.Segments {
		key := fmt.Sprintf("segments[%d].", i)
		c.number(key+"rate", s.Rate, "requests per second")
		if s.Duration <= 0 {
			c.fail(key+"duration", `is %q; want a duration above 0, such as "10m"`, s.Duration)
		}
		requests = requests || s.Rate > 0
	}
	if !requests {
		c.fail("segments", "have no request; want at least one with a rate above 0")
	}
	c.number("rate", p.Rate, "mean requests per second, 0: as the segments say")
}

func (p *piecewise) describe() string {
	if p.Rate > 0 {
		return fmt.Sprintf("piecewise Poisson arrivals at %s/s in the mean", short(p.Rate))
	}
	return fmt.Sprintf("piecewise Poisson arrivals at %s/s in the mean", short(p.mean()))
}

// short writes a number for people.
func short(x float64) string { return strconv.FormatFloat(x, 'g', 4, 64) }
