// Package plan asks many runs one question. [Capacity] searches for the highest
// rate that a service-level objective allows, [Compare] puts variants beside each
// other under the same traffic, and [Curve] follows one setting over a list of
// rates. All three rest on several seeds and state intervals.
//
// The package does not know what a run is: the caller hands in a [Probe], a
// function from a rate and a seed to an [Observation]. Probes run on all cores, and
// the answers do not depend on how many there are. A cancelled context is not an
// error: what is known by then is returned, marked partial.
//
// Runs that are compared share their seeds, and equal seeds should mean equal
// traffic (common random numbers): the k-th unit gap between arrivals and the k-th
// request are then the same at every rate and under every policy, so differences
// are those of the settings and not of luck.
//
// Start reading at [Capacity].
package plan
