package cluster

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"orrery/policies/batch"
)

// An admission leaves the watermark free: the share of all blocks, rounded down.
func TestWatermarkHoldsAdmissionsBack(t *testing.T) {
	// A keeps 10 of 50 blocks to its end at 4 s. The watermark of 5 % is 2 blocks.
	for _, c := range []struct {
		blocks int32 // that B needs
		story  string
	}{
		{38, "A@0 B@"},  // leaves 2
		{39, "A@0 +A@"}, // would leave 1
	} {
		for _, p := range []batch.Policy{
			&batch.VLLM{MaxSeqs: 8, Watermark: 0.05},
			&batch.Sarathi{MaxSeqs: 8, Budget: 1000, Watermark: 0.05},
			&batch.ChunkedOnly{Sarathi: batch.Sarathi{MaxSeqs: 8, Budget: 1000, Watermark: 0.05}},
		} {
			w, _ := toy{policy: p, block: 4, blocks: 50, maxLen: 200}.run(t, requests{req(0, 37, 4), req(0.5, 4*c.blocks-3, 2)})
			if got := w.story(); !strings.HasPrefix(got, c.story) {
				t.Errorf("%T, B needs %d of the 40 free blocks: %s, want %s...", p, c.blocks, got, c.story)
			}
		}
	}
}

// So does a return from host memory, which counts the block that the next token may
// need.
func TestWatermarkHoldsReturnsBack(t *testing.T) {
	for _, c := range []struct {
		a, b int32 // prompts
		back bool
	}{
		{47, 22, true},  // A has 12 of 20 blocks, B needs 6: leaves 2, the watermark
		{48, 22, false}, // A has taken a 13th: leaves 1
		{47, 24, false}, // B's 6 blocks are full and its next token needs a 7th: leaves 1
	} {
		back := false
		p := &script{limits: batch.Limits{Watermark: 0.1, Swap: true}, steps: []func(batch.Plan){
			admitAll,
			func(p batch.Plan) { p.Preempt(p.Running()[1]); p.DecodeAll() },
			func(p batch.Plan) { back = p.SwapIn(); p.DecodeAll() },
		}}
		toy{policy: p, block: 4, blocks: 20, maxLen: 72, swap: 20}.run(t, requests{req(0, c.a, 4), req(0, c.b, 3)})
		if back != c.back {
			t.Errorf("prompts of %d and %d: the swapped sequence comes back: %v, want %v", c.a, c.b, back, c.back)
		}
	}
}

// Under StrictAppend a decode needs a free block even where its last block has room.
func TestStrictAppend(t *testing.T) {
	for _, c := range []struct {
		a, b          int32 // prompts, on 8 blocks of 4
		strict, loose string
	}{
		{13, 13, "A@0 B@0 -B@1 +A@2 +B@2", "A@0 B@0 +A@2 +B@2"}, // 4 blocks each, room in both
		{12, 13, "A@0 B@0 -B@1 +A@2 +B@2", "A@0 B@0 +A@2 +B@2"}, // A takes the last block before B decodes
		{13, 12, "A@0 B@0 +A@2 +B@2", "A@0 B@0 +A@2 +B@2"},      // A decodes before B takes the last block
		{12, 12, "A@0 B@0 +A@2 +B@2", "A@0 B@0 +A@2 +B@2"},      // two blocks are free for two
	} {
		for strict, want := range map[bool]string{true: c.strict, false: c.loose} {
			p := &script{limits: batch.Limits{StrictAppend: strict}}
			w, _ := toy{policy: p, block: 4, blocks: 8, maxLen: 28}.run(t, requests{req(0, c.a, 2), req(0, c.b, 2)})
			if got := w.story(); got != want {
				t.Errorf("prompts of %d and %d, strict %v: %s, want %s", c.a, c.b, strict, got, want)
			}
		}
	}
}

// The verb for one sequence keeps the same rule.
func TestStrictAppendOfOne(t *testing.T) {
	for _, strict := range []bool{false, true} {
		decoded := false
		p := &script{limits: batch.Limits{StrictAppend: strict}, steps: []func(batch.Plan){
			admitAll,
			func(p batch.Plan) {
				if decoded = p.Decode(p.Running()[0]); !decoded {
					p.DecodeAll()
				}
			},
		}}
		toy{policy: p, block: 4, blocks: 8, maxLen: 28}.run(t, requests{req(0, 13, 2), req(0, 13, 2)})
		if decoded == strict {
			t.Errorf("strict %v: a decode with room in its last block, and no other, is planned: %v", strict, decoded)
		}
	}
}

// Sequences are held by age, however they came back: the youngest is the victim.
func TestHeldInOrderOfAge(t *testing.T) {
	var held, back []string
	p := &script{limits: batch.Limits{Swap: true}, steps: []func(batch.Plan){
		admitAll,
		func(p batch.Plan) { // out goes C, then B
			p.Preempt(p.Running()[2])
			p.Preempt(p.Running()[1])
			p.DecodeAll()
		},
		func(p batch.Plan) { // back comes C, who left first, then B
			for p.Swapped() != nil {
				back = append(back, name(p.Swapped().ID))
				p.SwapIn()
			}
			p.DecodeAll()
		},
		func(p batch.Plan) {
			for _, s := range p.Running() {
				held = append(held, name(s.ID))
			}
			held = append(held, name(p.Victim(p.Running()[0]).ID))
			p.DecodeAll()
		},
	}}
	toy{policy: p, swap: 100, maxLen: 64}.run(t, requests{req(0, 8, 8), req(0, 8, 8), req(0, 8, 8)})
	if got := fmt.Sprint(back); got != "[C B]" {
		t.Errorf("back from host memory come %v, want C before B, as they left", got)
	}
	if got := fmt.Sprint(held); got != "[A B C C]" {
		t.Errorf("held, and the victim: %v, want A B C and C", got)
	}
}

// The victim is the youngest idle sequence that is younger than the one in need; who
// has only younger ones in flight waits for them, and only the youngest gives way itself.
func TestVictim(t *testing.T) {
	victims := func(p batch.Plan) (got string) {
		for _, s := range p.Running() {
			v := "nobody"
			if y := p.Victim(s); y != nil {
				v = name(y.ID)
			}
			got += name(s.ID) + " evicts " + v + ", "
		}
		return got
	}
	var got [3]string
	p := &script{steps: []func(batch.Plan){
		func(p batch.Plan) { p.Admit(4); p.Admit(8) }, // A, of which there is more, and B: until 2 s
		admitAll, // C: from 1 s to 3 s
		func(p batch.Plan) { got[0] = victims(p); p.Decode(p.Running()[1]) }, // at 2 s; B is in flight until 4 s
		func(p batch.Plan) { got[1] = victims(p); p.Chunk(p.Running()[0], 4) },
		func(p batch.Plan) { got[2] = victims(p); p.DecodeAll() },
	}}
	toy{policy: p, cost: &toyCost{stages: 2, price: unit}, maxLen: 64}.run(t, requests{req(0, 8, 4), req(0, 8, 4), req(0.5, 8, 4)})
	want := [3]string{
		"A evicts B, B evicts nobody, ", // C is in flight
		"A evicts C, C evicts C, ",
		"B evicts C, C evicts C, ",
	}
	if got != want {
		t.Errorf("got %q,\nwant %q", got, want)
	}
}

// A first chunk longer than the prompt takes no more than the prompt needs.
func TestAdmitMoreThanThePrompt(t *testing.T) {
	for _, rule := range []batch.Reserve{batch.ReservePrompt, batch.ReserveMax, batch.ReserveChunk} {
		c, err := newCluster(Config{
			Replicas: []ReplicaConfig{{
				Policy: &script{limits: batch.Limits{Reserve: rule}, steps: []func(batch.Plan){func(p batch.Plan) { p.Admit(64) }}},
				Cost:   &toyCost{price: unit}, MaxLen: 64, Blocks: 100, BlockTokens: 4,
			}},
			Source: &listSource{requests{req(0, 4, 8)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		c.scheduleArrival()
		c.engine.Run(0)
		want := int64(1)
		if rule == batch.ReserveMax {
			want = 16
		}
		if got := c.replicas[0].mem.ledger.Used(); got != want {
			t.Errorf("rule %d: %d blocks taken, want %d", rule, got, want)
		}
		out, err := c.run()
		if got := c.replicas[0].mem.ledger.Used(); got != 0 || out.Finished != 1 || err != nil {
			t.Errorf("rule %d: %d blocks in use at the end", rule, got)
		}
	}
}

// Requests that can never be served are refused when they come.
func TestRefusals(t *testing.T) {
	// 40 blocks of 16 tokens hold 640, of which one block must stay free.
	rs := requests{req(0, 1000, 1001), req(0, 615, 10), req(0, 614, 10), req(0, 0, 10), req(0, 10, 0)}
	w, out := toy{policy: &batch.Sarathi{MaxSeqs: 8, Budget: 512}, blocks: 40, maxLen: 2000}.run(t, rs)
	if out.Rejected != 4 || out.Finished != 1 || w.served[0].ID != 2 {
		t.Fatalf("%+v, want only the third to finish", out)
	}
	w2, _ := toy{policy: &batch.Sarathi{MaxSeqs: 8, Budget: 512}, maxLen: 2000}.run(t, requests{req(0, 1000, 1000), req(0, 1000, 1001)})
	if len(w2.served) != 1 || w2.served[0].ID != 0 {
		t.Error("want a sequence of the longest length to be served, and a longer one not")
	}
	var reasons []string
	for _, r := range w.records {
		if r.What == Rejected {
			reasons = append(reasons, r.Reason)
		}
	}
	const empty = "needs at least one prompt token and one output token"
	if want := []string{"longer than the longest sequence served", "needs more KV memory than the replica has", empty, empty}; !reflect.DeepEqual(reasons, want) {
		t.Errorf("reasons are %q", reasons)
	}
}

// A replica that cannot work says why.
func TestReplicaRefusals(t *testing.T) {
	good := ReplicaConfig{Policy: &batch.Orca{MaxSeqs: 1}, Cost: &toyCost{price: unit}, MaxLen: 64, Blocks: 4, BlockTokens: 16}
	for want, change := range map[string]func(*ReplicaConfig){
		"needs a policy":    func(r *ReplicaConfig) { r.Policy = nil },
		"and a cost model":  func(r *ReplicaConfig) { r.Cost = nil },
		"longest sequence":  func(r *ReplicaConfig) { r.MaxLen = 0 },
		"blocks of 0":       func(r *ReplicaConfig) { r.BlockTokens = 0 },
		"no memory is left": func(r *ReplicaConfig) { r.Blocks = 0 },
		"0 pipeline stages": func(r *ReplicaConfig) { r.Cost = &noStages{} },
		"-1 swapped-out":    func(r *ReplicaConfig) { r.HostBlocks = -1 },
		"room for -1 block": func(r *ReplicaConfig) { r.OffloadBlocks, r.PrefixCache = -1, true },
		"no prefix cache":   func(r *ReplicaConfig) { r.OffloadBlocks = 1 },
		"policy reserves":   func(r *ReplicaConfig) { r.Blocks = 3 },
	} {
		r := good
		change(&r)
		_, err := Run(context.Background(), Config{Replicas: []ReplicaConfig{good, r}, Source: &listSource{}})
		if err == nil || !strings.Contains(err.Error(), "replica 1: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

type noStages struct{ toyCost }

func (*noStages) Stages() int { return 0 }
