// Package batch decides what a replica computes in its next iteration: which
// prompt chunks, which decodes, who is admitted and who is pre-empted.
//
// A [Policy] is shown a [Plan] and fills it. The plan does the sums (tokens,
// slots, KV blocks), so no policy can overrun the memory, and it never reveals
// how long an answer will be. A policy has no clock and does no I/O; the same
// policy decides for simulated and for real devices.
//
// Read [Policy] and [Plan] first, then [Sarathi], the shortest complete example.
package batch

import "orrery/sim"

// Policy decides the content of iterations. One value serves one replica, so a
// policy may keep state between decisions.
type Policy interface {
	// Limits returns the fixed facts that decide how a replica's memory is laid
	// out, for a model whose longest sequence is maxLen tokens.
	Limits(maxLen int) Limits
	// Plan decides the next iteration. It is called whenever the replica can start
	// one; a plan left empty lets the replica wait for the next arrival or
	// completion.
	Plan(p Plan)
}

// Limits are the facts about a policy that the replica needs before it starts.
type Limits struct {
	// MaxSeqs is the largest number of sequences admitted at a time.
	MaxSeqs int
	// MaxTokens is the size of the largest iteration, in tokens. Engines run one
	// such iteration when they start and give the KV cache what is left of the
	// memory, so that a policy with small iterations has more KV blocks.
	MaxTokens int
	// Reserve says how many KV blocks a sequence takes when it is admitted.
	Reserve Reserve
	// Watermark is the share of all blocks that an admission must leave free.
	Watermark float64
	// StrictAppend demands a free block before every decode, even of a sequence
	// whose last block has room (vLLM v0 and Sarathi-Serve).
	StrictAppend bool
	// Pipelined lets chunks of one prompt follow each other through a pipeline
	// without waiting for the previous chunk to leave it (vLLM V1).
	Pipelined bool
	// Swap moves the KV cache of pre-empted sequences to host memory while there
	// is room, instead of dropping it.
	Swap bool
}

// Reserve is a rule for the KV blocks of an admitted sequence.
type Reserve uint8

// The reservation rules.
const (
	ReservePrompt Reserve = iota // blocks for the whole prompt, then one at a time
	ReserveMax                   // blocks for the longest possible sequence
	ReserveChunk                 // blocks for the tokens computed so far
)

// Seq is what a policy may know of a sequence: a request being served. Fields
// are up to date when a [Plan] method returns the sequence; policies must not
// change them.
type Seq struct {
	ID        int64    // of the request
	Arrived   sim.Time // at the gateway
	Tenant    int32
	Turn      int32
	Tier      int32    // service class
	Priority  int32    // of its tier, higher before lower
	Deadline  sim.Time // of its first token, [sim.Forever] if it has none
	Predicted int32    // length of its answer as predicted when it was routed, tokens; 0 without a predictor
	Prompt    int32    // tokens to compute before the next one can be emitted: the prompt, and after a recomputation the tokens emitted before it
	Computed  int32    // tokens whose KV is stored or being computed
	Generated int32    // tokens emitted
	Restarts  int32    // pre-emptions suffered
	Slot      int32    // the replica's index of the sequence
}

// Left returns the number of prompt tokens still to be computed.
func (s *Seq) Left() int { return int(max(s.Prompt-s.Computed, 0)) }

// Plan is one iteration in the making. Verbs take effect at once, so that later
// questions see what earlier verbs took.
//
// Sequences are idle or in flight: with pipeline parallelism a sequence that is
// part of an unfinished micro-batch cannot be planned again and is not shown.
type Plan interface {
	// Now is the time of the decision.
	Now() sim.Time
	// Tokens is the number of tokens planned so far.
	Tokens() int
	// Held is the number of sequences admitted and not finished, those in
	// flight included.
	Held() int
	// Waiting is the number of sequences in the queue.
	Waiting() int
	// FreeBlocks is the number of KV blocks that can be taken.
	FreeBlocks() int64
	// Blocks is the number of KV blocks that n tokens fill.
	Blocks(n int) int64

	// Head returns the sequence at the head of the queue, nil if it is empty.
	// Its Computed field counts the leading tokens found in the prefix cache.
	Head() *Seq
	// Queue returns all waiting sequences from the head on. The slice is the plan's
	// and holds until the next call. It costs time in proportion to the queue.
	Queue() []*Seq
	// Front moves a waiting sequence to the head of the queue. Of s only the slot counts.
	Front(s *Seq)
	// CanAdmit reports whether the head's reservation, with a first chunk of n
	// tokens, fits the free blocks less the watermark.
	CanAdmit(n int) bool
	// Admit takes the head from the queue, reserves its blocks and plans the
	// first n tokens of its prompt. It reports false, and does nothing, if CanAdmit
	// is false or n is less than 1.
	Admit(n int) bool

	// Decodes is the number of idle sequences that are ready to decode.
	Decodes() int
	// DecodeAll plans one token for every idle sequence that is ready, oldest
	// first. When a block is needed and none is free, the youngest idle sequence
	// that is not yet planned is pre-empted, if need be the one in question. It
	// returns the number of sequences pre-empted.
	DecodeAll() int
	// Decode plans one token for s. It reports false, and does nothing, if memory is
	// short or s is not idle and ready.
	Decode(s *Seq) bool
	// Prefilling returns the idle sequences whose prompt is not yet complete, oldest
	// first. The slice is the plan's and holds until the next call.
	Prefilling() []*Seq
	// Running returns all idle admitted sequences, oldest first, under the same
	// terms.
	Running() []*Seq
	// Chunk plans the next n prompt tokens of s. It reports false, and does nothing,
	// if memory is short, n is less than 1, or s is not idle and prefilling.
	Chunk(s *Seq, n int) bool

	// Victim returns the sequence to pre-empt so that s can go on: the youngest idle
	// one that is younger than s, or s itself if it is the youngest of all. It is nil
	// if all that are younger are in flight: s waits for them.
	Victim(s *Seq) *Seq
	// Preempt takes the memory of an idle sequence that is not planned and puts
	// the sequence at the head of the queue.
	Preempt(s *Seq)
	// Swapped returns the sequence that was swapped out first, nil if there is
	// none.
	Swapped() *Seq
	// SwapIn brings it back, ready to decode. It reports false, and does
	// nothing, if its blocks do not fit the free blocks less the watermark.
	SwapIn() bool

	// Steady promises that the same decision would be taken again as long as
	// nothing arrives, finishes or runs short of memory. The replica then crosses
	// such a stretch in one go. The promise is void if anything but decodes was
	// planned.
	Steady()
}
