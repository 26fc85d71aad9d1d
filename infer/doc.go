// Package infer runs a transformer for real, on the host's processor: a decoder of
// Llama's shape (RMS norm, rotary positions, grouped-query attention, SwiGLU, logits
// tied to the embedding) with paged KV memory, in float32. Its weights are random: the
// arithmetic is that of a trained model, and so is its time.
//
// A [Model] computes iterations as serving engines form them: [Model.Step] takes any
// mix of prompt chunks and decodes, one part for each sequence, multiplies the weights
// with all their tokens at once and returns the next token of those that want one, the
// most likely one. It is what a simulated replica can be held against.
//
// With gonum's BLAS the logits of a sequence are the same to the last bit, however its
// prompt was cut into chunks and whatever was in the batch beside it. OpenBLAS is three
// times as fast, and there logits differ in their last bits.
//
// Start reading at [Model.Step]; the operators are in package kernel.
package infer
