package report

import (
	"errors"
	"fmt"
	"time"

	"orrery/cluster"
	"orrery/sim"
)

// Laws is a recorder that checks the log against the laws of the house:
//
//   - time: on each replica iterations follow each other, their ends and those of
//     other records never go back, and what happens at the door (arrivals,
//     routing) never goes back either;
//   - physics: a stage does one thing at a time, so that its busy time never
//     exceeds wall time;
//   - limits: KV blocks, sequences and iterations stay within the [ReplicaSpec];
//   - life: arrived, routed, scheduled, first token, finished, in this order,
//     with exactly one end; a request that loses its replica is routed anew, and goes on;
//   - replicas: they start before they serve, and only those that have devices work;
//   - conservation: computed = prompts - cached + decodes + recomputed; emitted =
//     asked; no KV block is held at the end; Little's law;
//   - images: steps run = steps that requests got = those of the alternatives taken,
//     batches and memory of a device within its [ReplicaSpec].
//
// Feed it a whole run, then ask [Laws.Close]. It keeps the state of live requests
// only. The zero Laws checks what needs no specs.
type Laws struct {
	Replicas []ReplicaSpec
	// Panic makes the first broken law panic where it happens, for a debugger.
	Panic bool

	broken   []error
	more     int
	records  int64
	door     sim.Time
	replicas []lawful
	live     map[int64]life
	prefills bool // first tokens come with the prefill

	arrived, finished, rejected, failed, unfinished int64
	accounted, uncertain                            int64 // tokens that finished and cut requests account for
	asked                                           int64 // tokens that they emitted
	computed, emitted                               int64 // tokens by iterations and emissions
	area, sojourn                                   int64 // request-ns by the level, and by the requests; both wrap alike
	level                                           int64
	since                                           sim.Time
}

// lawful is the state of one replica.
type lawful struct {
	at         sim.Time // latest record other than at the door
	iterations int64
	start, end sim.Time
	stages     []sim.Time      // when each became free
	busy       []time.Duration // total
	held       int64           // requests routed here and not ended
	kv         int64           // in use at the last decision
	state      cluster.State
	moved      sim.Time // when it came into it
}

// life is how far a request has come.
type life struct {
	stage   cluster.What
	replica int32 // that it is on, -1 for none
	lost    bool  // its replica, and has no other yet
	sent    bool  // its KV cache is on the way to another replica
}

// maxBroken bounds the violations that are kept in words.
const maxBroken = 10

// breaks notes a broken law with what is needed to find the place again.
func (l *Laws) breaks(r *cluster.Record, format string, args ...any) {
	where := "at the end"
	if r != nil {
		where = fmt.Sprintf("record %d (%v at %v, replica %d", l.records, r.What, r.At, r.Replica)
		if r.Request != nil {
			where += fmt.Sprintf(", request %d", r.Request.ID)
		}
		if r.Iteration != nil {
			where += fmt.Sprintf(", iteration %d", r.Iteration.Number)
		}
		where += ")"
	}
	err := fmt.Errorf("law broken: %s: %s", where, fmt.Sprintf(format, args...))
	if l.Panic {
		panic(err)
	}
	if len(l.broken) == maxBroken {
		l.more++
		return
	}
	l.broken = append(l.broken, err)
}

// Err returns the laws broken so far, nil if none.
func (l *Laws) Err() error {
	if l.more > 0 {
		return errors.Join(append(l.broken[:len(l.broken):len(l.broken)], fmt.Errorf("and %d more", l.more))...)
	}
	return errors.Join(l.broken...)
}

// Record checks one entry of the log.
func (l *Laws) Record(r *cluster.Record) {
	l.records++
	switch r.What {
	case cluster.Iterated, cluster.Emitted:
	case cluster.Moved:
		l.moved(r)
		return
	case cluster.Loaded:
	default:
		l.request(r)
	}
	switch r.What {
	case cluster.Arrived, cluster.Rejected, cluster.Routed:
		if r.At < l.door {
			l.breaks(r, "the door has seen %v already", l.door)
		}
		l.door = r.At
		return
	}
	if r.Replica < 0 { // unfinished at the gateway
		return
	}
	p := l.replica(r.Replica)
	if r.At < p.at {
		l.breaks(r, "time goes back from %v", p.at)
	}
	p.at = max(p.at, r.At)
	switch r.What {
	case cluster.Iterated:
		l.iteration(p, r)
	case cluster.Emitted:
		l.emitted += r.N
		if r.N < 1 || r.Gap < 0 || sim.Time(r.Gap) > r.At {
			l.breaks(r, "%d tokens after a gap of %v", r.N, r.Gap)
		}
	}
}

func (l *Laws) replica(i int32) *lawful {
	for int(i) >= len(l.replicas) {
		l.replicas = append(l.replicas, lawful{})
	}
	return &l.replicas[i]
}

// spec returns the spec of a replica, the zero spec if there is none.
func (l *Laws) spec(i int32) ReplicaSpec {
	if int(i) < len(l.Replicas) {
		return l.Replicas[i]
	}
	return ReplicaSpec{}
}

func (l *Laws) iteration(p *lawful, r *cluster.Record) {
	it, b, spec := r.Iteration, &r.Iteration.Batch, l.spec(r.Replica)
	switch {
	case it.Number != p.iterations:
		l.breaks(r, "expected iteration %d", p.iterations)
	case it.End != r.At || it.Start > it.End:
		l.breaks(r, "iteration from %v to %v", it.Start, it.End)
	case it.Start < p.start || len(it.Stages) < 2 && it.Start < p.end:
		l.breaks(r, "starts at %v, before its predecessor (%v to %v) allows", it.Start, p.start, p.end)
	}
	p.iterations++
	p.start, p.end = it.Start, it.End
	l.spans(p, r)

	p.kv = it.KVUsed
	if it.Steps > 0 {
		l.denoising(p, r)
		return
	}
	tokens := b.Tokens()
	l.computed += int64(tokens)
	if !p.state.Provisioned() && it.End > p.moved {
		l.breaks(r, "works, but is %v since %v", p.state, p.moved)
	}
	switch {
	case tokens < 1 || b.Decodes < 0 || b.ChunkTokens < b.Chunks:
		l.breaks(r, "batch of %d decodes and %d chunks with %d tokens", b.Decodes, b.Chunks, b.ChunkTokens)
	case b.Logits < b.Decodes || b.Logits > b.Decodes+b.Chunks:
		l.breaks(r, "%d sequences are sampled of %d decodes and %d chunks", b.Logits, b.Decodes, b.Chunks)
	case spec.MaxTokens > 0 && tokens > max(spec.MaxTokens, b.Decodes):
		l.breaks(r, "%d tokens, the limit is %d", tokens, spec.MaxTokens)
	case int(it.Running) < b.Decodes || it.Waiting < 0:
		l.breaks(r, "%d running and %d waiting with %d decodes", it.Running, it.Waiting, b.Decodes)
	case spec.MaxSeqs > 0 && int(it.Running) > spec.MaxSeqs:
		l.breaks(r, "%d sequences running, the limit is %d", it.Running, spec.MaxSeqs)
	case len(it.Stages) < 2 && int64(it.Running)+int64(it.Waiting) > p.held:
		l.breaks(r, "%d running and %d waiting, but only %d requests are here", it.Running, it.Waiting, p.held)
	case it.KVUsed < 0 || spec.KVBlocks > 0 && it.KVUsed > spec.KVBlocks:
		l.breaks(r, "%d KV blocks in use of %d", it.KVUsed, spec.KVBlocks)
	}
}

// denoising checks an iteration of a pool's device. Images that run together take the
// same steps, and each step of each is one unit of what their requests ask for.
func (l *Laws) denoising(p *lawful, r *cluster.Record) {
	it, b, spec := r.Iteration, &r.Iteration.Batch, l.spec(r.Replica)
	l.computed += int64(b.Decodes) * int64(it.Steps)
	switch {
	case b.Decodes < 1 || b.Chunks < 0 || b.Chunks > b.Decodes || int(it.Running) != b.Decodes || it.Waiting != 0:
		l.breaks(r, "%d images of %d running go steps, %d of them encoded; %d wait on the device", b.Decodes, it.Running, b.Chunks, it.Waiting)
	case int64(it.Running) > p.held:
		l.breaks(r, "%d images running, but only %d requests are here", it.Running, p.held)
	case spec.MaxSeqs > 0 && b.Decodes > spec.MaxSeqs:
		l.breaks(r, "%d images in a batch, the limit is %d", b.Decodes, spec.MaxSeqs)
	case it.KVUsed < 0 || spec.Images && it.KVUsed > spec.KVBlocks:
		l.breaks(r, "%d bytes in use of %d", it.KVUsed, spec.KVBlocks)
	}
}

// spans checks that stages work one micro-batch at a time, within its iteration.
func (l *Laws) spans(p *lawful, r *cluster.Record) {
	it := r.Iteration
	if p.stages == nil {
		p.stages = make([]sim.Time, len(it.Stages))
		p.busy = make([]time.Duration, len(it.Stages))
	}
	if len(it.Stages) != len(p.stages) {
		l.breaks(r, "%d stages, formerly %d", len(it.Stages), len(p.stages))
		return
	}
	before := it.Start
	for s, span := range it.Stages {
		switch {
		case span.End < span.Start || span.Start < it.Start || span.End > it.End:
			l.breaks(r, "stage %d works from %v to %v in an iteration from %v to %v", s, span.Start, span.End, it.Start, it.End)
		case span.Start < p.stages[s]:
			l.breaks(r, "stage %d starts at %v but is busy until %v", s, span.Start, p.stages[s])
		case span.Start < before:
			l.breaks(r, "stage %d starts at %v, before its input is ready at %v", s, span.Start, before)
		}
		before = span.End
		p.stages[s] = span.End
		if p.busy[s] += span.End.Sub(span.Start); sim.Time(p.busy[s]) > span.End {
			l.breaks(r, "stage %d was busy %v of %v", s, p.busy[s], span.End)
		}
	}
}

// Close checks what must hold when a run has ended at end, and returns all that was
// broken. kvUsed is the number of KV blocks in use on all replicas then; pass -1
// if it is not known.
func (l *Laws) Close(end sim.Time, kvUsed int64) error {
	for i := range l.replicas {
		if p := &l.replicas[i]; p.at > end {
			l.breaks(nil, "replica %d has records at %v after the end at %v", i, p.at, end)
		}
	}
	if n := l.arrived - l.finished - l.rejected - l.failed - l.unfinished; n != 0 || len(l.live) != 0 {
		l.breaks(nil, "of %d requests %d finished, %d were rejected, %d failed and %d are unfinished; %d are still live", l.arrived, l.finished, l.rejected, l.failed, l.unfinished, len(l.live))
	}
	if l.unfinished == 0 && kvUsed > 0 {
		l.breaks(nil, "%d KV blocks are in use although no request is", kvUsed)
	}
	if l.emitted != l.asked {
		l.breaks(nil, "%d tokens were emitted, requests got %d", l.emitted, l.asked)
	}
	if l.computed < l.accounted || l.computed > l.accounted+l.uncertain {
		l.breaks(nil, "%d tokens were computed; requests account for %d, those unfinished for at most %d more", l.computed, l.accounted, l.uncertain)
	}
	l.area += l.level * int64(end-l.since)
	if l.area != l.sojourn {
		l.breaks(nil, "Little's law: the level says %.6g request-seconds, the requests %.6g", float64(l.area)/1e9, float64(l.sojourn)/1e9)
	}
	return l.Err()
}
