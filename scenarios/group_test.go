package scenarios

import (
	"bytes"
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"orrery/cluster"
	"orrery/report"
)

const twoGroups = `
[model]
name    = "llama-3.1-8b"
max_len = 8192
[hardware]
device = "a100-sxm-80gb"
[policy]
budget = 2048
[traffic]
rate     = 4.0
requests = 300
[[group]]
name     = "big"
replicas = 2
price_per_hour = 2.0
[[group]]
name     = "small"
hardware = { device = "l40s-48gb", tensor = 2 }
policy   = { batch = "sarathi", budget = 512 }
`

func parseText(t *testing.T, text string, sets ...string) *Scenario {
	t.Helper()
	s, err := Parse("test.toml", []byte(text), sets...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A group is the scenario with its own sections laid upon it: its replicas are those of
// a scenario that says the same of all.
func TestGroupsAreScenariosOfTheirOwn(t *testing.T) {
	s := parseText(t, twoGroups)
	e, err := s.Build(1)
	if err != nil {
		t.Fatal(err)
	}
	r := e.Config.Replicas
	if len(r) != 3 || r[0].Group != 0 || r[1].Group != 0 || r[2].Group != 1 || r[0].Devices != 1 || r[2].Devices != 2 {
		t.Fatalf("replicas %+v", r)
	}
	head := strings.Split(twoGroups, "[[group]]")[0]
	alone := parseText(t, head, `hardware.device="l40s-48gb"`, "hardware.tensor=2", `policy.batch="sarathi"`, "policy.budget=512")
	if r[2].Blocks != alone.KVBlocks() || r[0].Blocks != parseText(t, head).KVBlocks() {
		t.Errorf("KV blocks %d and %d; alone %d", r[0].Blocks, r[2].Blocks, alone.KVBlocks())
	}
	if e.Config.Groups[0] != (cluster.Group{Name: "big", PricePerHour: 2}) || e.Config.Groups[1].Name != "small" {
		t.Errorf("groups %+v", e.Config.Groups)
	}
}

func TestGroupsSurviveBeingResolved(t *testing.T) {
	s := parseText(t, twoGroups)
	again := parseText(t, string(s.Resolved()))
	if a, b := s.Resolved(), again.Resolved(); !bytes.Equal(a, b) {
		t.Errorf("resolved once:\n%s\ntwice:\n%s", a, b)
	}
	x, _, err := Run(context.Background(), s, 3, Options{Fingerprint: true})
	if err != nil {
		t.Fatal(err)
	}
	y, _, err := Run(context.Background(), again, 3, Options{Fingerprint: true})
	if err != nil {
		t.Fatal(err)
	}
	if x.Fingerprint != y.Fingerprint || x.Requests.Finished != 300 {
		t.Errorf("%d finished, %s; resolved %d, %s", x.Requests.Finished, x.Fingerprint, y.Requests.Finished, y.Fingerprint)
	}
}

// Groups of like replicas are no groups at all.
func TestLikeGroupsAreOne(t *testing.T) {
	head, _, _ := strings.Cut(twoGroups, "[[group]]")
	one := parseText(t, head, "hardware.replicas=3")
	two := parseText(t, head+"[[group]]\nname = \"a\"\nreplicas = 2\n[[group]]\nname = \"b\"\n")
	x, _, err := Run(context.Background(), one, 1, Options{Fingerprint: true})
	if err != nil {
		t.Fatal(err)
	}
	y, _, err := Run(context.Background(), two, 1, Options{Fingerprint: true})
	if err != nil {
		t.Fatal(err)
	}
	if x.Fingerprint != y.Fingerprint {
		t.Errorf("three replicas %s, in two groups %s", x.Fingerprint, y.Fingerprint)
	}
}

func TestGroupsRefuse(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{`name     = "small"`, `name = "big"`, `test.toml:17: group[1].name is "big", as of another one; want each name once`},
		{`replicas = 2`, `replicas = -2`, `test.toml:14: group[0].replicas is -2; want 1 to `},
		{`tensor = 2`, `tensor = 3`, `test.toml:18: group "small": hardware.tensor: tensor-parallel degree 3 does not divide`},
		{`tensor = 2`, `replicas = 2`, `test.toml:18: group[1].hardware.replicas does not apply to one group; want replicas beside the group's name`},
		{`budget = 512`, `route = "random"`, `test.toml:19: group[1].policy.route does not apply to one group; want it in [policy]`},
		{`tensor = 2`, `tensr = 2`, `test.toml:18: group "small": there is no key hardware.tensr; did you mean tensor?`},
		{`name     = "small"`, "name     = \"small\"\nrole     = \"decode\"", `of the roles prefill and decode one is missing`},
		{`name     = "small"`, "name     = \"small\"\nrole     = \"decoder\"", `group[1].role is "decoder"; want "both", "prefill" or "decode"`},
	} {
		_, err := Parse("test.toml", []byte(strings.Replace(twoGroups, c.from, c.to, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %s", c.to, err, c.want)
		}
	}
}

const threeTiers = twoGroups + `
[[tier]]
name = "chat"
share = 0.6
priority = 2
ttft = "10s"
[[tier]]
name = "batch"
share = 0.4
e2e = "1ms"
`

// Tiers share the texts as they say, count for themselves, and all must hold.
func TestTiersAreJudgedByTheirOwnBounds(t *testing.T) {
	s := parseText(t, threeTiers)
	r, _, err := Run(context.Background(), s, 1, Options{})
	if err != nil {
		t.Fatal(err)
	}
	chat, batch := &r.Tiers[0], &r.Tiers[1]
	if n := chat.Arrived + batch.Arrived; n != 300 || math.Abs(float64(chat.Arrived)-180) > 4*math.Sqrt(300*0.6*0.4) {
		t.Errorf("%d and %d requests of 300", chat.Arrived, batch.Arrived)
	}
	if !chat.SLO.Met || batch.SLO.Met || r.SLO == nil || r.SLO.Met {
		t.Errorf("chat %+v, batch %+v, all %+v", chat.SLO, batch.SLO, r.SLO)
	}
	if got, want := float64(r.SLO.GoodShare), float64(chat.Arrived)/300; math.Abs(got-want) > 1e-9 || batch.SLO.GoodShare != 0 {
		t.Errorf("good share %v, want that of chat, %v", got, want)
	}
	if !slices.ContainsFunc(r.SLO.Bounds, func(b report.Bound) bool { return b.Tier == "batch" && !b.Held }) {
		t.Errorf("bounds %+v", r.SLO.Bounds)
	}
	plain, _, err := Run(context.Background(), parseText(t, twoGroups), 1, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if plain.Latency != r.Latency {
		t.Error("drawing tiers changes the traffic")
	}
}

func TestTiersRefuse(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"share = 0.4", "share = 0.5", "test.toml:28: tier[1].share brings the shares of all tiers to 1.1; want 1 in all"},
		{"share = 0.4", "share = -1.0", "test.toml:28: tier[1].share is -1.0; want a share of the texts, 0 to 1"},
		{`name = "batch"`, `name = "chat"`, "test.toml:27: tier[1].name is \"chat\", as of another one"},
		{`e2e = "1ms"`, `tbt = "1ms"`, "test.toml:29: there is no key tier[1].tbt; keys of [tier[1]] are"},
		{`e2e = "1ms"`, `quantile = 1.5`, "test.toml:29: tier[1].quantile is 1.5; want a share between 0 and 1"},
	} {
		_, err := Parse("test.toml", []byte(strings.Replace(threeTiers, c.from, c.to, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %s", c.to, err, c.want)
		}
	}
}

// A conversation stays in its tier.
func TestConversationsStayInTheirTier(t *testing.T) {
	text := strings.Replace(threeTiers, "rate     = 4.0\nrequests = 300", "source = \"sessions\"\nrate = 1.0\nsessions = 60", 1)
	e, err := parseText(t, text).Build(1)
	if err != nil {
		t.Fatal(err)
	}
	tiers, counts := map[int64]int32{}, map[int32]int{}
	for {
		if _, ok := e.Config.Source.Peek(); !ok || len(tiers) == 60 {
			break
		}
		r := e.Config.Source.Next()
		if was, ok := tiers[r.Session]; ok && was != r.Tier {
			t.Fatalf("session %d changes from tier %d to %d", r.Session, was, r.Tier)
		}
		tiers[r.Session] = r.Tier
		counts[r.Tier]++
	}
	if len(counts) != 2 {
		t.Errorf("requests by tier: %v", counts)
	}
}
