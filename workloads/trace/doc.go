// Package trace says what is asked of a text model and when: it makes the
// [workloads.Source] that a run pulls its requests from.
//
// There are four kinds of traffic, each a plain struct with an Open method:
//
//   - [Replay] streams a recorded trace from a CSV file;
//   - [Synthetic] joins an arrival process ([Arrivals]) to a distribution of
//     lengths ([Lengths]): an open loop, whose clients do not wait for answers;
//   - [ClosedLoop] has a fixed number of clients that each wait for their answer;
//   - [Sessions] are conversations, whose turns carry their history along.
//
// Start reading at [Synthetic.Open]. The embedded tables behind [Table] keep the
// joint prompt and output lengths of public data sets in a few kilobytes each, so
// that realistic traffic needs no download.
//
// Decisions worth remembering:
//
//   - Every purpose draws from its own named stream of the seed: "arrivals",
//     "prompt", "output", "lengths", "turns", "think" (a closed loop's client k
//     has "think k"), "groups", "jitter". Changing the lengths does not move the
//     arrivals.
//   - Arrival processes draw gaps of mean 1 and scale their sum by the rate, so
//     the k-th arrival at twice the rate comes at half the time exactly: runs at
//     different rates share their randomness (common random numbers).
//   - What a conversation will say is drawn when it begins, not when its turns
//     come, so that policies which answer in a different order are still
//     compared on the same conversations.
//   - Input is read twice: once in full to refuse what is wrong before anything
//     is simulated, then again as the run proceeds, so that a trace need not fit
//     into memory.
package trace
