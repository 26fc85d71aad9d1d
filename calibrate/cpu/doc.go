// Package cpu measures the operators of a text model on the host's processor, by the
// kernels of package infer, which also run the model: what is measured is what a real
// executor does. The result is a measurement file like that of any device.
//
// Every point of the plan is measured once in each round, so that a disturbance of the
// machine meets all points and a median leaves it out. Weights come from as much memory
// as the model's own take, one matrix after another: they are as cold in the caches as a
// step of the model finds them. How far the medians of even rounds are from those
// of odd ones is noted in the file as its noise.
//
// Start reading at [Measure].
package cpu
