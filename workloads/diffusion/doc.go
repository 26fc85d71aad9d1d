// Package diffusion describes image and video diffusion as the hardware sees it:
// networks as graphs of operators with the tensors that pass between them, and
// pipelines that run an encoder, a denoiser a number of times, and a decoder.
//
// A [Graph] is what one call of a network launches, in order, as an eager framework
// does. Work, weights, the memory that is live at each operator, and the time on a
// device all follow from it; methods that save memory or time are transformations of it.
//
// Start reading at [Graph], then at [Builder], which the networks are written with.
package diffusion
