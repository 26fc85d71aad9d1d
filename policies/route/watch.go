package route

// This file is what a router may ask of the cluster beyond [Policy]. A router implements
// what it needs; the plain ones need nothing.

// Watcher is a [Policy] that is told of every change of the view, so that it can keep
// an index of the replicas instead of looking at all of them.
type Watcher interface {
	// Changed tells that replicas[i] has changed. Before the first request it is called
	// once for each replica, in order.
	Changed(replicas []Replica, i int)
}

// Indexer is a [Policy] that has an equal which keeps an index. The cluster asks that
// one, and it must choose as the policy itself does, request by request.
type Indexer interface {
	// Indexed returns a policy for one run, which is also a [Watcher].
	Indexed() Policy
}

// Reports says which fields replicas must report of themselves. The router knows the
// others from what it has sent and what has ended.
type Reports uint8

// The fields that replicas report, to be added up.
const (
	Queue  Reports = 1 << iota // Replica.Queued, when it changes
	Memory                     // Replica.KVUsed, at the end of every iteration
)

// Reporting is a [Policy] that looks at what replicas report. A router that wants
// Memory makes the replicas step through iterations that they would have crossed in
// one jump.
type Reporting interface {
	Reports() Reports
}

// Predicting is a [Policy] that brings the predictor behind Replica.Work. Others get
// a [MeanAnswer].
type Predicting interface {
	Predictor() Predictor
}
