// Package lrsched has learning-rate schedules: what share of the peak rate an optimiser
// takes at each step of a run whose length is known beforehand, its budget.
//
// A [Profile] is a curve over the share of the run that is done. [Sampled] reads it at a
// number of points only, [WarmUp] and [Cyclic] wrap it, and [Of] makes a [Schedule] of it.
// [Plateau] is [Adaptive]: it watches the run. [Refine] makes a schedule of the norms of an
// earlier run, and [Replan] of those predicted for the rest of one whose batch changed. All
// are pure: no clock, no randomness.
//
// Start reading at Schedule.
package lrsched
