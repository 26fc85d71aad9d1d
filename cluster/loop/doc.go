// Package loop runs control loops on one device: robots or agents that ask for a plan
// once a period and need it by a deadline, beside each other and beside a server of text.
//
// A robot closes its loop: while it waits for a plan it asks for no other, so that under
// overload it skips periods rather than queue for ever. A plan is a row of kernels, and
// the device goes from one plan to another only between two of them.
//
// Two ways of sharing are told apart. From one process, plans follow each other, and the
// device waits for the host between launches: a plan takes as long as it takes alone, and
// the theory of periodic tasks on one processor holds. From a process each, kernels of
// several plans interleave, and one plan's kernels run while another's host launches.
//
// Start reading at Run.
package loop
