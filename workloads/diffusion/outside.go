package diffusion

// Outside is what a process holds on a GPU beside PyTorch's allocator, in bytes: the
// driver's context, the kernels of its libraries, and cuBLAS's and cuDNN's own buffers.
// It is the one constant of the memory model that is fitted to published peaks; see
// docs/memory.md for the rows.
const Outside int64 = 1_868_000_000
