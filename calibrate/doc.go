// Package calibrate turns measurements of operators into the constants of hwmodel.
//
// It reads measured operator times, fits the few constants of each cost formula
// on three quarters of the shapes, and scores them on the rest, which are chosen by
// a hash of the shape. The measure of a fit is the mean absolute logarithm of
// predicted over measured, whose optimum is a median, so that a few torn rows do
// not bend it. Every source of measurements gets its own additive overhead, since
// some time the launch and others do not; it is fitted beside the constants and
// then dropped, so that it does not leak into the operator.
//
// Start reading at [Problem]; the command calibrate/fit runs all fits and writes
// the profiles.
package calibrate
