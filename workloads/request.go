package workloads

import "orrery/sim"

// Request is one thing a client asks for. It does not change once it has
// arrived; its progress is kept by the replica that serves it.
type Request struct {
	ID      int64    // number in order of arrival, from 0
	Arrived sim.Time // when it reaches the gateway
	Prompt  int32    // input tokens, at least 1
	Output  int32    // tokens it will generate, at least 1; no policy may see this
	Tenant  int32    // client within the source, 0 if unknown
	Turn    int32    // number within its session, from 0
	Session int64    // conversation it belongs to, 0 if none
	// Class is the kind of image or clip that is asked for, from 1, in the order in which
	// the run lists them; 0 is text. An image has a Prompt of 1, and Output is its number
	// of denoising steps.
	Class int32
	// Tier is the service class of a text, an index into those that the run lists; 0 is
	// the first of them, or the only one if it lists none.
	Tier int32
	// Adapter is the LoRA adapter that a text wants, from 1; 0 is the model as it is.
	Adapter int32

	// Prefix names the leading parts of the prompt, each PrefixBlock tokens
	// long (the last may be partial), and may go on over the output, which a later
	// turn of the conversation repeats in its prompt. Requests whose first k names
	// are equal share the KV cache of those k parts. A source may reuse the slice's
	// memory only after the request has finished. Nil means that nothing is shared.
	Prefix      []uint64
	PrefixBlock int32
}

// Source yields requests in order of arrival. It is pulled one request ahead,
// so a source may be endless and need not be kept in memory.
type Source interface {
	// Peek returns the arrival time of the next request, and false if there is
	// none at present (for a [Responder], one may follow later).
	Peek() (sim.Time, bool)
	// Next returns the next request. It is called only after Peek returned true.
	Next() Request
}

// Responder is a [Source] whose later arrivals depend on earlier completions:
// closed loops and conversations.
type Responder interface {
	Source
	// Done tells the source that r ended at now, finished or refused. The
	// next arrival may be sooner afterwards, but never before now.
	Done(r *Request, now sim.Time)
}
