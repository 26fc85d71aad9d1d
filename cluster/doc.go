// Package cluster is the machine room, where decisions meet time: a gateway that
// routes requests, replicas that serve them in iterations, their pipelines and
// their memory. It emits one stream of [Record] values, the log, from which
// every metric, plot, timeline and law check is made.
//
// [Run] simulates: iterations take the time that a cost model says. [Live] follows
// the wall clock, and an [Executor] behind a replica really runs its iterations. All
// else is the same code, and under a fake clock both write the same log.
package cluster
