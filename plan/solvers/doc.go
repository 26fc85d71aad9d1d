// Package solvers searches solver schedules: at so many network evaluations, which times, orders,
// predictions and correctors end nearest to the exact flow of a diffusion model? The models are
// analytic, so that the flow is known and an evaluation of a schedule takes a millisecond; the
// search is what Unified Sampling Framework's S3 does at so much more cost.
//
// Start reading at Search, then Bed, which says how a schedule is judged.
package solvers
