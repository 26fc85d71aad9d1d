// Package decoder runs a transformer on a GPU: a decoder of Llama's shape (RMS norm,
// rotary positions, grouped-query attention, SwiGLU, logits tied to the embedding) with
// paged KV memory and random weights, in 16 bits. Products of matrices are cuBLAS's and
// the rest are the kernels that orrery calibrate cuda measures.
//
// A [Model] computes iterations as package infer's does on the processor, behind the same
// methods, so that what runs the one runs the other: [Model.Step] takes any mix of
// chunks of prompts and decodes.
//
// Tests run it on the emulated device, where its choice of tokens is that of a plain
// reference in 64 bits, but for tokens whose logits differ by less than 16-bit numbers
// tell. It has not run on a real GPU yet.
//
// Start reading at [Model.Step].
package decoder
