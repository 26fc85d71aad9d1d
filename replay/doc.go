// Package replay puts the traffic of a scenario on a real server, one that speaks the
// streaming API of OpenAI, and measures what its clients see.
//
// The load is open-loop: a request is sent when it is due, however many are still
// unanswered, and every delay counts from the instant at which the request was
// due, not from when it was sent. A server that stalls cannot hold back the
// requests that would have shown the stall (coordinated omission). How late the
// generator itself was is measured as well, and judged.
//
// [Run] is the clock: it sends requests and keeps [Answer]s. [Server] is the client of
// a real server. [Log] turns answers into the records that a simulated cluster
// would have written, so that the figures of a measurement are made by the same code as
// those of a simulation.
package replay
