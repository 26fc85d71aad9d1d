// Package quality says what training makes of a budget: computed, not assumed.
//
// [NQM] is the noisy quadratic model, whose expected loss follows exactly from its second
// moments: no sampling, a millisecond a run. It answers what a schedule of the learning
// rate is worth at a budget, how many steps a loss takes, what a batch is worth. It can be
// fitted to the loss curves of a job.
//
// Beside it is optimisation done for real: a [Classifier] on a [Dataset], by SGD or Adam, on
// the processor. A [Suite] compares schedules on tables, each at its best peak rate; a [Trial]
// asks what a schedule refined from the gradients of an earlier run is worth. Small public
// tables are shipped ([Table]); one's own are read from LIBSVM, ARFF and CSV.
//
// Start reading at NQM, or at Training.
package quality
