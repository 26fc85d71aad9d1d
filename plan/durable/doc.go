// Package durable runs sweeps as workflows of Temporal (https://temporal.io): whatever is killed,
// worker, server or the command itself, nothing is lost and the rest goes on.
//
// [Engine] is the sweep's side. It puts the cells of a sweep into the folder of its results as a
// plan, starts the workflow [Sweep] or joins it if it runs, and hands in the rows as results appear
// in the folder. The server is one that it starts as a child, with a worker in its own process,
// or one elsewhere, with any number of workers ([Worker]) on other machines that share the folder.
//
// [Sweep] hands out spans of the plan as activities worth some seconds each, at most a few thousand
// of them before it continues as new. An activity may run twice, wholly or in part: results are
// kept by their content key, so the second time finds what the first has finished.
//
// What goes over the wire is small and names nothing: hashes of plans, and numbers of cells. A
// worker reads plans from the folder that it was started on, checks them against their hash, and
// refuses scenarios that name files. It serves only sweeps of its own folder and of its own
// build of the program ([Place]), because the results of another build are not those that were
// asked for.
//
// Start reading at [Sweep].
package durable
