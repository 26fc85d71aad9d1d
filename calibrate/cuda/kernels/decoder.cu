// What a decoder needs beside products, attention, norms and element-wise kernels.
#include "paged.cuh"

// random_weights makes weights between -limit and limit.
template <class T> __device__ void random_weights(T *out, u64 n, u32 seed, float limit) {
	for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x)
		from_float(out[i], limit * ((float)(random_bits(seed, i) >> 8) * (1.0f / (1 << 23)) - 1));
}

// take copies rows of a matrix, whose numbers are given, one block a row. cols is a
// multiple of a vector.
template <class T> __device__ void take(T *out, const T *in, const int *rows, u32 cols) {
	for (u32 i = threadIdx.x * Vec<T>::N; i < cols; i += blockDim.x * Vec<T>::N)
		Vec<T>::load(in + (u64)rows[blockIdx.x] * cols + i).store(out + (u64)blockIdx.x * cols + i);
}

// Token is a row of a step, as the host writes it: its position in its sequence, and
// where the block numbers of the sequence begin in the table.
struct Token { int position, table; };

// store takes rows of query, key and value heads: it rotates queries where they are,
// and puts rotated keys, and values, into the cache. angles has the cosines and then the
// sines, dim/2 each, of every position. One block a row.
template <class T>
__device__ void store(T *qkv, T *keys, T *values, const int *table, const Token *tokens, const float *angles, int q_heads, int kv_heads, int dim) {
	Token token = tokens[blockIdx.x];
	int half = dim / 2, heads = q_heads + 2 * kv_heads;
	const float *cosine = angles + (u64)token.position * dim, *sine = cosine + half;
	for (int i = threadIdx.x; i < heads * half; i += blockDim.x) {
		int head = i / half, d = i % half;
		T *from = qkv + ((u64)blockIdx.x * heads + head) * dim + d, *to = from;
		float x = to_float(from[0]), y = to_float(from[half]), p = x * cosine[d] - y * sine[d], q = y * cosine[d] + x * sine[d];
		if (head >= q_heads + kv_heads) {
			to = (T *)paged(values, table + token.table, token.position, head - q_heads - kv_heads, kv_heads, dim) + d;
			p = x;
			q = y;
		} else if (head >= q_heads) {
			to = (T *)paged(keys, table + token.table, token.position, head - q_heads, kv_heads, dim) + d;
		}
		from_float(to[0], p);
		from_float(to[half], q);
	}
}

// largest finds the first of the largest numbers of each row, one block a row.
template <class T> __device__ void largest(int *out, const T *in, u32 cols) {
	__shared__ float values[32];
	__shared__ int places[32];
	in += (u64)blockIdx.x * cols;
	float most = -1e30f;
	int place = 0x7fffffff;
	for (u32 i = threadIdx.x; i < cols; i += blockDim.x) {
		float x = to_float(in[i]);
		if (x > most) {
			most = x;
			place = (int)i;
		}
	}
	int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
	for (int round = 0; round < 2; round++) {
		for (int d = 16; d > 0; d /= 2) {
			float x = __shfl_xor_sync(0xffffffffu, most, d);
			int at = __shfl_xor_sync(0xffffffffu, place, d);
			if (x > most || (x == most && at < place)) {
				most = x;
				place = at;
			}
		}
		if (round == 1)
			break;
		if (lane == 0) {
			values[warp] = most;
			places[warp] = place;
		}
		__syncthreads();
		most = lane < warps ? values[lane] : -1e30f;
		place = lane < warps ? places[lane] : 0x7fffffff;
	}
	if (threadIdx.x == 0)
		out[blockIdx.x] = place;
}

#define INSTANCE(T)                                                                                                                      \
	extern "C" __global__ void random_weights_##T(T *out, u64 n, u32 seed, float limit) { random_weights(out, n, seed, limit); }         \
	extern "C" __global__ void take_##T(T *out, const T *in, const int *rows, u32 cols) { take(out, in, rows, cols); }                   \
	extern "C" __global__ void store_##T(T *qkv, T *keys, T *values, const int *table, const Token *tokens, const float *angles,         \
	                                     int q_heads, int kv_heads, int dim) {                                                           \
		store(qkv, keys, values, table, tokens, angles, q_heads, kv_heads, dim);                                                         \
	}                                                                                                                                    \
	extern "C" __global__ void largest_##T(int *out, const T *in, u32 cols) { largest(out, in, cols); }
INSTANCE(f16)
INSTANCE(bf16)
