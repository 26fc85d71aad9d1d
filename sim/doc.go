// Package sim is the clock of a simulation: virtual time, the one event queue,
// the engine that fires events in a defined order, named random streams,
// ledgers that cannot be overdrawn, and quantile sketches of bounded size.
//
// There are five nouns: [Time], [Event], [Engine], [Ledger] and [Sketch], and
// one function, [Stream]. The package knows nothing of hardware, models or
// policies. Start reading at [Engine.Run]; the order of simultaneous events is
// explained at [Rank].
//
// Decisions worth remembering:
//
//   - Time is int64 nanoseconds. With floating-point seconds ties are accidents
//     and results differ between processors that fuse multiply-add and those
//     that do not; integers have neither problem, and 292 years is enough.
//   - An event names an action slot and carries an index: 24 bytes, no pointer.
//     Nothing is allocated when an event is scheduled or fired, and an event that
//     is data can be logged and replayed. bench_test.go compares the queue with
//     the alternatives.
//   - Events are not cancelled. A stale event finds that its index has moved on
//     and does nothing, which is cheaper for all the events that are not stale.
//   - There is one engine and one order of events, on simulated time
//     ([Engine.Run]) and on the wall clock ([Engine.Live]). Work that really runs
//     promises its end, and so keeps the place that a scheduled end would have.
package sim
