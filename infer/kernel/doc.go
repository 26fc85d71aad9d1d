// Package kernel has the operators of a transformer in float32 on the host's
// processor: projections, attention over paged KV memory, norms and activations.
// Package infer builds a model of them, and calibrate/cpu times the same ones.
//
// A [Set] is the operators on one BLAS and a number of threads. Matrices are slices
// in row-major order. Operators do not allocate once their scratch memory has grown
// to the largest shape they have met, and check shapes only by indexing: they are
// for callers who know what they pass.
//
// With gonum's BLAS every number of a row is computed by the same operations in the
// same order, whatever else is in the batch and however many threads work on it.
// OpenBLAS picks kernels by shape, so there a row may differ in its last bits.
package kernel
