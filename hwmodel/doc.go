// Package hwmodel is the physics of a simulation: what devices and links are, as
// numbers with their source, and how long work takes on them.
//
// A [Device] is a data sheet. A [Profile] adds the fitted constants of its operators:
// matrix products ([GEMM], [Grouped]), attention ([PrefillKernel], [DecodeKernel]),
// data-moving kernels ([Stream]), collectives and transfers ([Collective], [Send]).
// An [Engine] holds what a serving engine puts on top: its attention backend, how
// it launches kernels, its host time. Profiles and engines are TOML files; each
// constant says where it comes from and how far it missed shapes that its fit did
// not see ([Fit]).
//
// The program of a model turns an iteration, summed up in a [Batch], into operators
// and so into a [CostModel]. Three cost models need no operators: [Affine], a formula
// with five coefficients, [Tables], measured times looked up, and [Measured], fitted to
// whole iterations.
//
// Memory has a model of its own: a [CachingAllocator] does with requests what PyTorch's
// allocator does.
//
// Costs are seconds as float64 until a cost model rounds them to nanoseconds, once.
// No operator is priced below its bytes over the peak bandwidth or its FLOPs over the
// peak rate of its device.
//
// Start reading at [CostModel] and [Profile].
package hwmodel
