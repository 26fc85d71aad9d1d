package sim

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// Events that follow each other at random fire in the same order and at the same
// times on the wall clock as in simulated time, also when half of them are
// delivered by other goroutines that sleep until they are due.
func TestLiveFiresAsRun(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		want := chains(seed, func(g *Engine, at Time, do Action, arg uint32) { g.At(at, do, arg) }, func(g *Engine) { g.Run(40) })
		var got []string
		synctest.Test(t, func(t *testing.T) {
			n := 0
			got = chains(seed, func(g *Engine, at Time, do Action, arg uint32) {
				if n++; n%2 == 0 || g.mail.origin.IsZero() || at == g.Now() {
					g.At(at, do, arg)
					return
				}
				p := g.Promise(do, arg)
				time.AfterFunc(time.Until(g.Wall(at)), func() { g.Keep(p) })
			}, func(g *Engine) { g.Live(t.Context(), 40) })
			time.Sleep(time.Second) // timers of promises beyond the horizon
		})
		if !slices.Equal(got, want) {
			rt.Fatalf("live %v\nrun  %v", got, want)
		}
	})
}

// chains lets events schedule others at random and returns what fired.
func chains(seed uint64, at func(g *Engine, at Time, do Action, arg uint32), run func(*Engine)) (fired []string) {
	var g Engine
	rng := Stream(seed, "chains")
	var actions [numRanks]Action
	var next uint32
	spawn := func(now Time) {
		rank := rng.IntN(int(numRanks))
		next++
		at(&g, now+Time(1+rng.IntN(6)), actions[rank], next)
	}
	for r := range numRanks {
		actions[r] = g.On(r, fmt.Sprint(r), func(now Time, arg uint32) {
			fired = append(fired, fmt.Sprintf("%d/%d@%d", arg, r, now))
			for range rng.IntN(3) {
				if next < 300 {
					spawn(now)
				}
			}
		})
	}
	for range 8 {
		spawn(0)
	}
	run(&g)
	return append(fired, fmt.Sprint(g.Now(), g.Pending()))
}

// Posts happen when they are posted, those made before the start at the start, and
// at their rank among the events of the instant.
func TestPost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Engine
		var got []string
		note := func(what string) func(Time, uint32) {
			return func(now Time, arg uint32) { got = append(got, fmt.Sprint(what, arg, "@", now)) }
		}
		first, last := g.On(Finish, "first", note("first")), g.On(Watch, "last", note("last"))
		g.Post(first, 1)
		g.At(0, last, 2)
		g.At(7, last, 3)
		g.At(9, last, 4)
		time.AfterFunc(7, func() { g.Post(first, 5) })
		g.Live(t.Context(), Forever)
		want := []string{"first1@0s", "last2@0s", "first5@7ns", "last3@7ns", "last4@9ns"}
		if !slices.Equal(got, want) {
			t.Errorf("fired %v, want %v", got, want)
		}
	})
}

// Live waits for promises, and for nothing else that may yet come.
func TestLiveEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Engine
		stop := g.On(Finish, "stop", func(Time, uint32) {})
		begun := time.Now()
		g.At(5, stop, 0)
		p := g.Promise(stop, 0)
		time.AfterFunc(time.Hour, func() { g.Keep(p) })
		if g.Live(t.Context(), Forever); g.Now() != Time(time.Hour) || g.Pending() != 0 {
			t.Errorf("ended at %v with %d pending, want the promise kept after an hour", g.Now(), g.Pending())
		}
		g.Promise(stop, 0) // never kept
		ctx, cancel := context.WithDeadline(t.Context(), begun.Add(2*time.Hour))
		defer cancel()
		if g.Live(ctx, Forever); ctx.Err() == nil || g.Pending() != 1 {
			t.Error("a promise that is not kept did not last until the context ended")
		}
		if g.Live(t.Context(), g.Now().Add(time.Minute)); g.Pending() != 1 {
			t.Error("the horizon did not end the wait for a promise")
		}
	})
}
