// Package cuda measures the operators of models on an NVIDIA GPU, for a profile of it.
//
//	orrery calibrate cuda --quick              a few minutes: does it work, is the card at ease?
//	orrery calibrate cuda --out my-gpu.orrery  everything
//	orrery calibrate fit my-gpu.orrery         the profile
//	orrery validate SCENARIO --gpu 0           a scenario simulated and really run, side by side
//
// The machine needs NVIDIA's driver (for CUDA 11.4 or later) and NVRTC, CUDA's run-time
// compiler, which comes with PyTorch and with the toolkit; ORRERY_NVRTC names its folder
// if it is nowhere else. cuBLAS does the products of matrices, cublasLt those of fp8, cuDNN
// the convolutions; what is not installed is left out, or done by a plain kernel of our
// own and marked as such (source orrery-cuda-own), and the file says so. On a machine with
// several GPUs, NCCL's collectives and copies between two of them are measured too.
//
// # How a figure is made
//
// [Measure] takes the points of a plan in batches. Each point lays out its operands,
// filled with random numbers that the host can make again by their index; it computes
// once, and some of its results are held against the definition in 64 bits. A wrong
// one ends the run: its time is worth nothing. Then as many calls as last 2 ms become a
// CUDA graph, which is timed between two events, 7 times; the points of a batch take
// turns. The median counts. Calls rotate through copies of their operands that exceed L2
// threefold, and L2 is overwritten before each sample; what should stay in L2 (scale_graph
// and scale_stream, the reads of a working set) does not rotate. The card's clocks, power
// limit and partitions are left alone; clocks, power, temperature and what throttled
// the card are noted in the file if NVML tells them.
//
// # Where things are
//
// This package has the plan, the references and the statistics. Package kernels has the
// CUDA sources; package driver the GPU, by way of the driver API and without cgo;
// package device the interface between; package number the formats. Package emulate is
// a device for tests: it runs the same sources on the processor, thread by thread, with
// the tensor core's fragments as the PTX manual lays them out. Package decoder is a
// transformer made of these kernels and cuBLAS, which executes what a policy decides.
//
// # What is proved, and what is not
//
// Tests compile every kernel to machine code for sm_75, sm_80 and sm_90, and run every
// kernel on the emulated device, where results meet the same references as on a GPU,
// with threads and blocks in either order. That covers indices, fragments, barriers and
// asynchronous copies, masks, paging, grouped queries and the combination of splits. No
// GPU was at hand when this was written: the calls of the driver API, cuBLAS, cublasLt, cuDNN, NCCL
// and NVML follow NVIDIA's headers but have not met a card, and how fast the kernels are is
// not known. Attention by mma.sync cannot reach what Hopper's wgmma does (published
// microbenchmarks: some 60 to 65 % of it), so that on sm_90 prefill attention measured
// here is slower than FlashAttention-3.
//
// Start reading at [Measure].
package cuda
