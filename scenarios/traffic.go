package scenarios

import (
	"errors"
	"fmt"

	"orrery/internal/names"
	"orrery/sim"
	"orrery/workloads/trace"
)

// trafficPart is one of the sources of traffic, with its own keys.
type trafficPart interface {
	// traffic returns the description that is opened for a run.
	traffic(seed uint64, maxLen int) trace.Traffic
	// check reports what is wrong.
	check(c *checker)
	// ends tells whether the source has a last request.
	ends() bool
	// describe says in words what is asked, for people.
	describe() string
	// parts returns the structs whose keys the section takes.
	parts() []any
}

// The names of the traffic sources.
const (
	synthetic  = "synthetic"
	replayed   = "replay"
	sessions   = "sessions"
	closedLoop = "closed-loop"
)

// sources is the table of traffic sources.
var sources = []struct {
	Name
	make func() trafficPart
}{
	{Name{synthetic, "requests come as the arrival process says, whether or not earlier ones are answered"},
		func() trafficPart { return &syntheticPart{} }},
	{Name{replayed, "a recorded trace, from a CSV file"}, func() trafficPart { return &replayPart{HashBlock: 512} }},
	{Name{sessions, "conversations whose every turn repeats what was said before"},
		func() trafficPart { return &sessionsPart{Turns: 4, Think: Duration(10e9), ThinkCV: 1} }},
	{Name{closedLoop, "a fixed number of clients, each of which waits for its answer"},
		func() trafficPart { return &closedPart{Clients: 16} }},
}

// Sources returns the sources of traffic by name.
func Sources() []Name {
	out := make([]Name, len(sources))
	for i := range sources {
		out[i] = sources[i].Name
	}
	return out
}

// systemPrompts are the keys of prompts that share a beginning.
type systemPrompts struct {
	SystemPrompts int     `toml:"system_prompts"` // number of different system prompts, default 0: none
	SystemTokens  int     `toml:"system_tokens"`  // length of each, added to the drawn prompt
	SystemZipf    float64 `toml:"system_zipf"`    // popularity: the k-th is chosen in proportion to k^-system_zipf
}

func (s *systemPrompts) shared() trace.SharedPrefix {
	return trace.SharedPrefix{Groups: s.SystemPrompts, Tokens: s.SystemTokens, Zipf: s.SystemZipf}
}

func (s *systemPrompts) check(c *checker) {
	c.count("system_prompts", int64(s.SystemPrompts), 0)
	c.number("system_zipf", s.SystemZipf, "exponent of the popularity")
	if (s.SystemPrompts > 0) != (s.SystemTokens > 0) || s.SystemTokens < 0 {
		c.fail("system_tokens", "is %d and system_prompts %d; want both above 0, or both 0", s.SystemTokens, s.SystemPrompts)
	}
}

// syntheticPart is [trace.Synthetic] in a scenario.
type syntheticPart struct {
	Arrivals string   `toml:"arrivals"`  // one of ArrivalProcesses, default poisson
	Lengths  string   `toml:"lengths"`   // one of LengthSources: a table of quantiles, or a distribution; default chat
	Requests int64    `toml:"requests"`  // number of requests, 0 (default) for no limit
	Duration Duration `toml:"duration"`  // no request comes after it, 0 (default) for no limit
	MaxTotal int      `toml:"max_total"` // cut longer requests to this many tokens in proportion, 0 (default) for no cut
	systemPrompts

	arrivals arrivalPart
	lengths  lengthPart
}

func (p *syntheticPart) parts() []any { return []any{p, p.arrivals, p.lengths} }

func (p *syntheticPart) ends() bool {
	return p.Requests > 0 || p.Duration > 0 || p.arrivals.ends()
}

func (p *syntheticPart) traffic(seed uint64, _ int) trace.Traffic {
	return trace.Synthetic{
		Arrivals: p.arrivals.arrivals(), Lengths: capped(p.lengths, p.MaxTotal),
		N: p.Requests, Duration: seconds(p.Duration), Shared: p.shared(), Seed: seed,
	}
}

func (p *syntheticPart) check(c *checker) {
	p.arrivals.check(c)
	checkLengths(c, p.lengths, p.MaxTotal, p.SystemTokens)
	c.count("requests", p.Requests, 0)
	p.systemPrompts.check(c)
}

func (p *syntheticPart) describe() string {
	return p.arrivals.describe() + described(p.lengths)
}

// sessionsPart is [trace.Sessions] in a scenario. Arrivals are of new sessions.
type sessionsPart struct {
	Arrivals   string   `toml:"arrivals"`
	Lengths    string   `toml:"lengths"`     // of each turn's question and answer
	Sessions   int64    `toml:"sessions"`    // number of sessions, 0 (default) for no limit
	Duration   Duration `toml:"duration"`    // no session begins after it, 0 (default) for no limit
	MaxTotal   int      `toml:"max_total"`   // cut longer turns, as in synthetic traffic
	Turns      float64  `toml:"turns"`       // mean number of turns, geometric, at least 1, default 4
	Think      Duration `toml:"think"`       // mean time from an answer to the next question, default 10s
	ThinkCV    float64  `toml:"think_cv"`    // its standard deviation over its mean, default 1
	MaxContext int      `toml:"max_context"` // a session ends before a turn that would exceed this, default max_len
	systemPrompts

	arrivals arrivalPart
	lengths  lengthPart
}

func (p *sessionsPart) parts() []any { return []any{p, p.arrivals, p.lengths} }

func (p *sessionsPart) ends() bool {
	return p.Sessions > 0 || p.Duration > 0 || p.arrivals.ends()
}

func (p *sessionsPart) traffic(seed uint64, maxLen int) trace.Traffic {
	context := p.MaxContext
	if context == 0 {
		context = maxLen
	}
	return trace.Sessions{
		Arrivals: p.arrivals.arrivals(), Lengths: capped(p.lengths, p.MaxTotal), Turns: trace.Geometric{Mean: p.Turns},
		Think: trace.Think{Mean: seconds(p.Think), CV: p.ThinkCV}, System: p.shared(), MaxContext: context,
		N: p.Sessions, Duration: seconds(p.Duration), Seed: seed,
	}
}

func (p *sessionsPart) check(c *checker) {
	p.arrivals.check(c)
	checkLengths(c, p.lengths, p.MaxTotal, p.SystemTokens)
	c.count("sessions", p.Sessions, 0)
	if !(p.Turns >= 1 && p.Turns <= 10000) {
		c.fail("turns", "is %s; want a mean of 1 to 10000 turns", floatText(p.Turns))
	}
	checkCV(c, "think_cv", p.ThinkCV, true)
	c.count("max_context", int64(p.MaxContext), 0)
	p.systemPrompts.check(c)
}

func (p *sessionsPart) describe() string {
	return fmt.Sprintf("sessions of %s turns in the mean, %s, turns %s", short(p.Turns), p.arrivals.describe(), p.lengths.describe())
}

// closedPart is [trace.ClosedLoop] in a scenario.
type closedPart struct {
	Clients  int      `toml:"clients"` // default 16
	Think    Duration `toml:"think"`   // mean time between an answer and the next request, default 0
	ThinkCV  float64  `toml:"think_cv"`
	Lengths  string   `toml:"lengths"`
	Requests int64    `toml:"requests"` // in all, 0 (default) for no limit
	MaxTotal int      `toml:"max_total"`

	lengths lengthPart
}

func (p *closedPart) parts() []any { return []any{p, p.lengths} }
func (p *closedPart) ends() bool   { return p.Requests > 0 }

func (p *closedPart) traffic(seed uint64, _ int) trace.Traffic {
	return trace.ClosedLoop{
		Clients: p.Clients, Think: trace.Think{Mean: seconds(p.Think), CV: p.ThinkCV},
		Lengths: capped(p.lengths, p.MaxTotal), N: p.Requests, Seed: seed,
	}
}

func (p *closedPart) check(c *checker) {
	if p.Clients < 1 || p.Clients > 1<<20 {
		c.fail("clients", "is %d; want 1 to %d", p.Clients, 1<<20)
	}
	checkCV(c, "think_cv", p.ThinkCV, true)
	c.count("requests", p.Requests, 0)
	checkLengths(c, p.lengths, p.MaxTotal, 0)
}

func (p *closedPart) describe() string {
	return fmt.Sprintf("%d clients that wait for their answers%s", p.Clients, described(p.lengths))
}

// traffic reads the section and the parts chosen in it.
func (d *decoder) traffic(s *Scenario) {
	t := &s.Traffic
	tree := d.table("traffic")
	t.Source = d.choose("traffic", "source", synthetic)
	var others []alternative
	for _, src := range sources {
		if src.Name.Name == t.Source {
			t.part = src.make()
		} else {
			others = append(others, alternative{"source", src.Name.Name, src.make()})
		}
	}
	for _, a := range arrivalProcesses {
		others = append(others, alternative{"arrivals", a.Name.Name, a.make()})
	}
	for _, l := range lengthSources {
		others = append(others, alternative{"lengths", l.Name.Name, l.make()})
	}
	if t.part == nil {
		d.unknown("traffic.source", "traffic source", t.Source, namesOf(Sources()))
		return
	}
	switch p := t.part.(type) {
	case *syntheticPart:
		p.Arrivals, p.arrivals = d.arrivals()
		p.Lengths, p.lengths = d.lengths(s)
	case *sessionsPart:
		if len(s.Classes) > 0 {
			d.errorf("traffic.source", "traffic.source is %q, conversations, which have no place for images; want one of synthetic, replay, closed-loop", t.Source)
		}
		p.Arrivals, p.arrivals = d.arrivals()
		p.Lengths, p.lengths = d.lengths(s)
	case *closedPart:
		p.Lengths, p.lengths = d.lengths(s)
	}
	d.fill("traffic", tree, append([]any{t}, t.part.parts()...), others)
}

// unknown notes a name that nothing answers to.
func (d *decoder) unknown(path, kind, name string, known []string) {
	d.errorf(path, "%s: %w", path, names.Unknown(kind, name, known))
}

// seconds converts a duration for package trace.
func seconds(d Duration) float64 { return sim.Time(d).Seconds() }

// errNoFile is the reason against an empty file name.
var errNoFile = errors.New(`is missing; want the path of a trace, as in --set traffic.file=PATH`)
