// Package report makes results from the log: numbers, tables, plots, timelines,
// checks of the laws, and the fingerprint. Everything in it reads the stream of
// [cluster.Record] values and nothing else, so the model needs no knowledge of
// what is measured.
//
// There are four recorders. [Metrics] measures a run in bounded memory and turns
// it into a [Result], which is what result.json holds and what [Result.Verdict]
// prints. [Laws] checks that the log obeys the laws of the house. [Fingerprint]
// hashes the log, so that two runs can be told apart or not. The packages rows and
// timeline, below this one, write requests and iterations to files. [Folder] puts
// all files of a run in one place, which appears as a whole or not at all.
//
// Start reading at [Metrics.Record].
package report
