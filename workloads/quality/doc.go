// Package quality says what training makes of a budget: computed, not assumed.
//
// [NQM] is the noisy quadratic model, whose expected loss follows exactly from its second
// moments: no sampling, a millisecond a run. It answers what a schedule of the learning
// rate is worth at a budget, how many steps a loss takes, what a batch is worth. It can be
// fitted to the loss curves of a job.
//
// Start reading at NQM.
package quality
