// Package cluster is the machine room, where decisions meet time: a gateway that
// routes requests, replicas that serve them in iterations, their pipelines and
// their memory. It emits one stream of [Record] values, the log, from which
// every metric, plot, timeline and law check is made.
package cluster
