package trace

import (
	"math"
	"slices"
	"testing"

	"orrery/sim"
	"orrery/workloads"
)

// talk is a set of conversations with system prompts of 100 tokens, which fill
// six blocks of 16.
func talk(seed uint64) Sessions {
	return Sessions{
		Arrivals: Poisson{2}, Turns: Geometric{4}, N: 300, Seed: seed,
		Lengths: Joint{Prompt: LogNormal{60, 1}, Output: LogNormal{120, 0.8}},
		Think:   Think{Mean: 5, CV: 1}, System: SharedPrefix{Groups: 3, Tokens: 100, Zipf: 0.5},
	}
}

// bySession groups requests by conversation, and checks that each one's turns
// come in order and that its first turn comes first.
func bySession(t *testing.T, rs []workloads.Request) map[int64][]workloads.Request {
	t.Helper()
	out := map[int64][]workloads.Request{}
	for _, r := range rs {
		if int(r.Turn) != len(out[r.Session]) || r.Session < 1 {
			t.Fatalf("turn %d of session %d comes after %d turns", r.Turn, r.Session, len(out[r.Session]))
		}
		out[r.Session] = append(out[r.Session], r)
	}
	return out
}

// randomService returns service times that differ from request to request.
func randomService(seed uint64, mean float64) func(*workloads.Request) sim.Time {
	rng := sim.Stream(seed, "service")
	return func(*workloads.Request) sim.Time { return sim.Seconds(mean * rng.ExpFloat64()) }
}

func TestTurnsCarryTheirHistory(t *testing.T) {
	const seed, systemTokens = 41, 100
	rs := serve(t, open(t, talk(seed)), math.MaxInt, randomService(seed, 3))
	sessions := bySession(t, rs)
	if len(sessions) != 300 || len(rs) < 900 {
		t.Fatalf("seed %d: %d sessions with %d turns; want 300 with about 1200", seed, len(sessions), len(rs))
	}
	for id, turns := range sessions {
		for k, r := range turns {
			// All full blocks of prompt and answer are named, but for the answer's last
			// token, which is never fed back.
			if want := int(r.Prompt+r.Output-1) / 16; len(r.Prefix) != want || r.PrefixBlock != 16 {
				t.Fatalf("session %d: %d blocks named, want %d", id, len(r.Prefix), want)
			}
			sorted := slices.Sorted(slices.Values(r.Prefix))
			if len(slices.Compact(sorted)) != len(r.Prefix) {
				t.Fatalf("session %d: a name stands for two blocks of one prompt", id)
			}
			if k == 0 {
				if r.Prompt <= systemTokens {
					t.Fatalf("session %d begins with %d tokens; want a question after the system prompt of %d", id, r.Prompt, systemTokens)
				}
				continue
			}
			before := turns[k-1]
			if r.Prompt <= before.Prompt+before.Output {
				t.Fatalf("session %d: a prompt of %d follows %d+%d tokens; want more than the history", id, r.Prompt, before.Prompt, before.Output)
			}
			if !slices.Equal(r.Prefix[:len(before.Prefix)], before.Prefix) {
				t.Fatalf("session %d: turn %d does not begin with the blocks of turn %d", id, k, k-1)
			}
			if r.Arrived < before.Arrived {
				t.Fatalf("session %d: turn %d comes before turn %d", id, k, k-1)
			}
		}
	}
	// Two conversations share the full blocks of their system prompt or nothing.
	shared := 0
	for a := int64(1); a <= 60; a++ {
		for b := a + 1; b <= 60; b++ {
			x, y := sessions[a][0].Prefix, sessions[b][0].Prefix
			n := 0
			for n < min(len(x), len(y)) && x[n] == y[n] {
				n++
			}
			if n != 0 && n != systemTokens/16 {
				t.Fatalf("sessions %d and %d share %d blocks; want 0 or %d", a, b, n, systemTokens/16)
			}
			if n > 0 {
				shared++
			}
		}
	}
	if shared == 0 || shared == 60*59/2 {
		t.Errorf("%d of %d pairs share a system prompt; want some, with 3 groups", shared, 60*59/2)
	}
}

// However fast they are served, the same conversations take place.
func TestConversationsDoNotDependOnTheServer(t *testing.T) {
	const seed = 43
	fast := bySession(t, serve(t, open(t, talk(seed)), math.MaxInt, constantService(1)))
	slow := bySession(t, serve(t, open(t, talk(seed)), math.MaxInt, randomService(seed, 100)))
	if len(fast) != len(slow) {
		t.Fatalf("seed %d: %d and %d sessions", seed, len(fast), len(slow))
	}
	for id, a := range fast {
		b := slow[id]
		if len(a) != len(b) || a[0].Arrived != b[0].Arrived {
			t.Fatalf("seed %d: session %d has %d turns from %v, or %d from %v", seed, id, len(a), a[0].Arrived, len(b), b[0].Arrived)
		}
		for k := range a {
			if a[k].Prompt != b[k].Prompt || a[k].Output != b[k].Output || !slices.Equal(a[k].Prefix, b[k].Prefix) {
				t.Fatalf("seed %d: turn %d of session %d differs with the server's speed", seed, k, id)
			}
		}
	}
}

func TestTurnsAndThinkTimesHaveTheirMeans(t *testing.T) {
	const seed, n = 47, 20_000
	c := talk(seed)
	c.N, c.Lengths = n, Joint{Prompt: Fixed{1}, Output: Fixed{1}}
	var turns, thinks []float64
	sessions := bySession(t, serve(t, open(t, c), math.MaxInt, constantService(2e9)))
	for id := int64(1); id <= n; id++ {
		s := sessions[id]
		turns = append(turns, float64(len(s)))
		for k := range s[1:] {
			thinks = append(thinks, s[k+1].Arrived.Sub(s[k].Arrived).Seconds()-2)
		}
	}
	t.Logf("seed %d", seed)
	within(t, "mean number of turns", turns, mean, 4)
	within(t, "standard deviation of the number of turns", turns, std, math.Sqrt(4*3))
	within(t, "mean think time", thinks, mean, 5)
}

// MaxContext cuts conversations short and changes nothing else.
func TestMaxContextEndsSessions(t *testing.T) {
	const seed, most = 53, 600
	c := talk(seed)
	whole := bySession(t, serve(t, open(t, c), math.MaxInt, constantService(1e9)))
	c.MaxContext = most
	cut := bySession(t, serve(t, open(t, c), math.MaxInt, constantService(1e9)))
	shorter := 0
	for id, turns := range whole {
		kept := cut[id]
		for k, r := range turns {
			fits := k == 0 || r.Prompt+r.Output <= most
			if fits != (k < len(kept)) {
				t.Fatalf("seed %d: turn %d of session %d has %d+%d tokens; kept are %d turns", seed, k, id, r.Prompt, r.Output, len(kept))
			}
			if fits && (kept[k].Prompt != r.Prompt || kept[k].Output != r.Output || kept[k].Arrived != r.Arrived) {
				t.Fatalf("seed %d: turn %d of session %d changed", seed, k, id)
			}
			if !fits {
				shorter++
				break
			}
		}
	}
	if shorter == 0 {
		t.Error("no session was cut; the test shows nothing")
	}
}

func TestSessionsForgetWhatHasEnded(t *testing.T) {
	src := open(t, talk(59)).(*sessions)
	serve(t, src, math.MaxInt, constantService(1e9))
	if len(src.served) != 0 || len(src.waiting.items) != 0 {
		t.Errorf("%d sessions are being served and %d wait after the last turn", len(src.served), len(src.waiting.items))
	}
}
