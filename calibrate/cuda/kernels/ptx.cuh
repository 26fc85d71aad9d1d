// Instructions that CUDA C++ has no word for, as PTX. Layouts of fragments are those of
// the PTX manual, "Matrix fragments for mma.m16n8k16".
#pragma once

#define DYNAMIC_SHARED(name) extern __shared__ uint4 name[]

__device__ inline float f16_to_float(unsigned short x) {
	float f;
	asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(x));
	return f;
}

__device__ inline unsigned short float_to_f16(float x) {
	unsigned short h;
	asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(x));
	return h;
}

// power_of_2 is 2^x, to about 22 bits.
__device__ inline float power_of_2(float x) {
	float y;
	asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
	return y;
}

// load_past_l1 reads from L2, however often it was read before.
__device__ inline uint4 load_past_l1(const uint4 *p) {
	uint4 v;
	asm volatile("ld.global.cg.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
	return v;
}

__device__ inline unsigned shared_address(const void *p) {
	return (unsigned)__cvta_generic_to_shared(p);
}

// copy16 copies 16 bytes from global to shared memory, or zeros if there is nothing
// to copy. From sm_80 on it goes past the registers and is there after copy_wait.
__device__ inline void copy16(void *to, const void *from, bool there) {
#if __CUDA_ARCH__ >= 800
	int bytes = there ? 16 : 0;
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes) : "memory");
#else
	*(uint4 *)to = there ? *(const uint4 *)from : make_uint4(0, 0, 0, 0);
#endif
}

// copy_commit closes a group of copies; copy_wait waits for all but the last N groups.
__device__ inline void copy_commit() {
#if __CUDA_ARCH__ >= 800
	asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int N> __device__ inline void copy_wait() {
#if __CUDA_ARCH__ >= 800
	asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}

// load_matrices loads four 8x8 matrices of 16-bit numbers: lane l names row l%8 of
// matrix l/8, and gets two neighbours of row l/4 of each.
__device__ inline void load_matrices(unsigned r[4], const void *row) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
	             : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}

// load_transposed does so with each matrix transposed.
__device__ inline void load_transposed(unsigned r[4], const void *row) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
	             : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}

// multiply_f16 and multiply_bf16 add the product of a 16x16 and a 16x8 matrix to d, on
// tensor cores. sm_75 does it in two halves, and has no bf16.
__device__ inline void multiply_f16(float d[4], const unsigned a[4], const unsigned b[2]) {
#if __CUDA_ARCH__ >= 800
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	             : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
	             : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
	for (int i = 0; i < 2; i++)
		asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
		             : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[2 * i]), "r"(a[2 * i + 1]), "r"(b[i]));
#endif
}

__device__ inline void multiply_bf16(float d[4], const unsigned a[4], const unsigned b[2]) {
#if __CUDA_ARCH__ >= 800
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	             : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
	             : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
	d[0] = d[1] = d[2] = d[3] = __uint_as_float(0x7fffffff); // not a number: the host must not ask for it
#endif
}
