// Package driver is a real GPU as a [device.Device]: NVIDIA's driver API, kernels
// compiled by NVRTC, and cuBLAS, cublasLt, cuDNN, NCCL and NVML where they are installed.
// All are loaded while the program runs, without cgo, so that one binary serves
// machines with and without them.
//
// Nothing on the card is changed: no clock, no power limit, no partition. What is
// missing is a [device.Missing] that says what to do.
//
// Start reading at [Open].
package driver
