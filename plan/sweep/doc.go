// Package sweep runs a scenario many times: at every combination of the values of some of
// its keys, or at points drawn from ranges, each with the same seeds, and makes one tidy
// table of it, a row a run.
//
// A run is named by its content: [Key] is a hash of the scenario as it was understood, of the
// files that it names, of its seed and of the program. A result that is there under its key
// is an answer, whoever computed it and when, so a sweep that was interrupted goes on where
// it was, one that grew computes what is new, and sweeps may share a folder.
//
// [Plan] makes the cells of a [Spec], an [Engine] runs them in any order ([Local] on the cores
// of this machine), and [WriteTables] writes what came of it. The tables have no trace of
// who ran what when: their bytes are the same for any number of workers, shards and
// interruptions.
//
// Start reading at [RunBatch], the unit that every engine shares.
package sweep
