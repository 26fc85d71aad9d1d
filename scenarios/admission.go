package scenarios

import (
	"fmt"
	"time"

	"orrery/policies/admit"
)

// This file is how the settings of admission stand in scenarios; the table is in names.go.

// admission is a policy of the gateway. Its toml tags are its settings.
type admission interface {
	// policy returns the policy of one run, nil for one that lets everything in.
	policy(s *Scenario) admit.Policy
}

// open lets everything in.
type open struct{}

func (*open) policy(*Scenario) admit.Policy { return nil }

// tokenBucket is [admit.TokenBucket] in a scenario.
type tokenBucket struct {
	Rate  float64 `toml:"admit_rate"`  // a second
	Burst float64 `toml:"admit_burst"` // size of the bucket, default 1
	// Unit is what counts: requests (default), or tokens, those of the prompt when it is
	// let in and those of the answer when it has ended.
	Unit string `toml:"admit_unit"`
	// Each is whose bucket it is: all (default) for one, or tenant for one each.
	Each string   `toml:"admit_each"`
	Wait Duration `toml:"admit_wait"` // longest that a request is held, default 0
}

func newTokenBucket() admission { return &tokenBucket{Burst: 1, Unit: "requests", Each: "all"} }

func (b *tokenBucket) bucket() *admit.TokenBucket {
	return &admit.TokenBucket{Rate: b.Rate, Burst: b.Burst, Tokens: b.Unit == "tokens", PerTenant: b.Each == "tenant", Wait: time.Duration(b.Wait)}
}

func (b *tokenBucket) policy(*Scenario) admit.Policy { return b.bucket() }

// Check returns an error unless the bucket can be kept.
func (b *tokenBucket) Check() error {
	switch {
	case b.Unit != "requests" && b.Unit != "tokens":
		return fmt.Errorf(`admit_unit is %q; want "requests" or "tokens"`, b.Unit)
	case b.Each != "all" && b.Each != "tenant":
		return fmt.Errorf(`admit_each is %q; want "all" or "tenant"`, b.Each)
	}
	return b.bucket().Check()
}

// queueCap is [admit.QueueCap] in a scenario.
type queueCap struct {
	Max int64 `toml:"admit_max"` // requests under way
}

func (q *queueCap) policy(*Scenario) admit.Policy { return &admit.QueueCap{Max: q.Max} }

// Check returns an error unless anything can be let in.
func (q *queueCap) Check() error { return (&admit.QueueCap{Max: q.Max}).Check() }

// shedding is [admit.Shed] in a scenario.
type shedding struct {
	Max   int64   `toml:"admit_max"`   // requests under way
	Share float64 `toml:"admit_share"` // of it for a priority that is one lower, default 0.8
}

func newShedding() admission { return &shedding{Share: 0.8} }

func (p *shedding) shed() *admit.Shed {
	return &admit.Shed{QueueCap: admit.QueueCap{Max: p.Max}, Share: p.Share}
}

func (p *shedding) policy(s *Scenario) admit.Policy {
	shed := p.shed()
	for i := range s.Tiers {
		if t := int32(s.Tiers[i].Priority); i == 0 || t > shed.Top {
			shed.Top = t
		}
	}
	return shed
}

// Check returns an error unless anything can be let in.
func (p *shedding) Check() error { return p.shed().Check() }

// earlyRejection is [admit.Early] in a scenario.
type earlyRejection struct {
	TTFT  Duration `toml:"admit_ttft"`  // for tiers without a ttft of their own; default that of [slo]
	Slack float64  `toml:"admit_slack"` // times the target that a first token may come late by the prediction, default 1
}

func newEarlyRejection() admission { return &earlyRejection{Slack: 1} }

func (p *earlyRejection) policy(s *Scenario) admit.Policy {
	e := &admit.Early{Target: time.Duration(p.TTFT), Slack: p.Slack}
	if e.Target == 0 {
		e.Target = time.Duration(s.SLO.TTFT)
	}
	return e
}

// Check returns an error unless the policy can decide.
func (p *earlyRejection) Check() error { return (&admit.Early{Slack: p.Slack}).Check() }
