package scenarios

import (
	"errors"
	"path/filepath"
	"strings"

	"orrery/workloads/trace"
)

// replayPart is [trace.Replay] in a scenario. Without a file, requests are drawn from
// the embedded table StandIn instead, if one is named: a scenario about a trace can so
// be tried before the trace has been fetched. The result says so.
type replayPart struct {
	File     string   `toml:"file"`     // CSV, perhaps gzip-compressed
	Start    Duration `toml:"start"`    // window within the file; default 0
	End      Duration `toml:"end"`      // its end, exclusive; 0 (default) for the end of the file
	Requests int64    `toml:"requests"` // number of requests, 0 (default) for all
	Jitter   Duration `toml:"jitter"`   // spread quantised stamps by a uniform draw from [0, jitter), default 0
	Speed    float64  `toml:"speed"`    // time is divided by this; 0 (default) for 1
	// Rate is the mean rate to speed the trace up or slow it down to, instead of
	// Speed; 0 (default) for the trace's own.
	Rate      float64 `toml:"rate"`
	HashBlock int     `toml:"hash_block"` // prompt tokens of one block of the column hash_ids, default 512
	MaxTotal  int     `toml:"max_total"`  // cut longer requests to this many tokens in proportion, 0 (default) for no cut
	StandIn   string  `toml:"stand_in"`   // table of lengths for want of a file, default none
	// StandInRate is the rate of the Poisson arrivals of the stand-in where Rate is 0,
	// requests per second.
	StandInRate float64 `toml:"stand_in_rate"`
}

func (p *replayPart) parts() []any { return []any{p} }

func (p *replayPart) standsIn() bool { return p.File == "" }

func (p *replayPart) ends() bool {
	return !p.standsIn() || p.End > 0 || p.Requests > 0
}

func (p *replayPart) traffic(seed uint64, _ int) trace.Traffic {
	if p.standsIn() {
		return trace.Synthetic{
			Arrivals: trace.Poisson{Rate: p.standInRate()}, Lengths: capped(&table{name: p.StandIn}, p.MaxTotal),
			N: p.Requests, Duration: seconds(max(0, p.End-p.Start)), Seed: seed,
		}
	}
	return p.replay(seed)
}

func (p *replayPart) standInRate() float64 {
	switch {
	case p.Rate > 0:
		return p.Rate
	case p.Speed > 0:
		return p.StandInRate * p.Speed
	}
	return p.StandInRate
}

func (p *replayPart) replay(seed uint64) trace.Replay {
	return trace.Replay{
		Path: p.File, Start: seconds(p.Start), End: seconds(p.End), Limit: p.Requests, Jitter: seconds(p.Jitter),
		Speed: p.Speed, Rate: p.Rate, HashBlock: p.HashBlock, MaxTotal: p.MaxTotal, Seed: seed,
	}
}

func (p *replayPart) check(c *checker) {
	before := len(c.d.errs)
	c.number("speed", p.Speed, "times as fast, 0: as recorded")
	c.number("rate", p.Rate, "mean requests per second, 0: as recorded")
	c.count("requests", p.Requests, 0)
	c.count("hash_block", int64(p.HashBlock), 1)
	if p.Speed > 0 && p.Rate > 0 {
		c.fail("rate", "is %s and traffic.speed %s; want only one of them", floatText(p.Rate), floatText(p.Speed))
	}
	if p.End > 0 && p.End <= p.Start {
		c.fail("end", "is %q, not after traffic.start, %q; want a later time, or \"0s\" for the end of the file", p.End, p.Start)
	}
	checkLengths(c, &table{name: p.StandIn}, p.MaxTotal, 0)
	if len(c.d.errs) > before {
		return
	}
	if p.standsIn() {
		p.checkStandIn(c)
		return
	}
	p.File = c.path("file", p.File)
	sum, err := p.replay(0).Check()
	switch {
	case err != nil:
		c.wrap("file", errors.New(replayKeys.Replace(err.Error())))
	case p.Rate > 0 && sum.Rate() == 0:
		c.fail("rate", "is %s, but there are not two requests at different times in the window; want a wider window, or 0", floatText(p.Rate))
	case p.MaxTotal == 0 && c.maxLen > 0 && sum.MaxTotal > int64(c.maxLen):
		c.note("requests of the trace reach %d tokens; those beyond max_len, %d, are rejected (traffic.max_total would cut them)", sum.MaxTotal, c.maxLen)
	}
}

// replayKeys puts the keys of a scenario for the fields of [trace.Replay] in messages.
var replayKeys = strings.NewReplacer("Replay.Start", "traffic.start", "Replay.End", "traffic.end", "Replay.Speed", "traffic.speed", "Replay.Rate", "traffic.rate")

func (p *replayPart) checkStandIn(c *checker) {
	if p.StandIn == "" {
		c.fail("file", "%v", errNoFile)
		return
	}
	if _, err := trace.LoadTable(p.StandIn); err != nil {
		c.d.unknown("traffic.stand_in", "table of lengths", p.StandIn, trace.Tables())
		return
	}
	switch {
	case p.Rate > 0:
		c.rate("rate", p.Rate)
	case p.Speed > 0:
		c.rate("speed", p.standInRate())
	default:
		c.rate("stand_in_rate", p.StandInRate)
	}
	c.flag("no trace was given: Poisson arrivals at %s/s and lengths from the table %s stand in for it", short(p.standInRate()), p.StandIn)
}

func (p *replayPart) describe() string {
	if p.standsIn() {
		return "stand-in for a trace: Poisson arrivals at " + short(p.standInRate()) + "/s, lengths " + p.StandIn
	}
	text := "replay of " + filepath.Base(p.File)
	switch {
	case p.Rate > 0:
		text += " at " + short(p.Rate) + "/s"
	case p.Speed > 0 && p.Speed != 1:
		text += " at " + short(p.Speed) + " times its speed"
	}
	return text
}
