// Attention of one query a sequence over a paged KV cache: split-KV in the manner of
// Flash-Decoding, with the query heads of a KV head together (grouped-query attention).
//
// A block has 4 warps and takes up to G query heads of one KV head over one span of the
// keys, so that each key and value is read once for all of them. A warp reads whole
// tokens: as many lanes as a vector of the head has 16-byte pieces share one token, and
// UNROLL tokens are on their way at a time. The spans' results are put together by
// decode_combine.
#include "paged.cuh"

const int warps = 4;
const int unroll = 4;

// State is the online softmax of one query head: the largest score so far (in powers of
// 2), the sum of the weights, and the lane's piece of the weighted values.
template <int N> struct State {
	float most, sum, acc[N];

	__device__ void clear() {
		most = -1e30f;
		sum = 0;
		#pragma unroll
		for (int i = 0; i < N; i++)
			acc[i] = 0;
	}
	// add takes another state in.
	__device__ void add(float m, float s, const float a[N]) {
		float top = m > most ? m : most, mine = power_of_2(most - top), its = power_of_2(m - top);
		most = top;
		sum = sum * mine + s * its;
		#pragma unroll
		for (int i = 0; i < N; i++)
			acc[i] = acc[i] * mine + a[i] * its;
	}
};

template <class T, int DIM, int G> struct Decode {
	static const int N = Vec<T>::N;
	static const int lanes = DIM / N;   // that share a token
	static const int tokens = 32 / lanes; // of a warp at a time

	float q[G][N];
	State<N> state[G];

	__device__ void load_queries(const T *rows, int heads, float scale) {
		#pragma unroll
		for (int g = 0; g < G; g++)
			#pragma unroll
			for (int i = 0; i < N; i++)
				q[g][i] = g < heads ? to_float(rows[g * DIM + i]) * scale : 0;
	}

	// take adds the tokens first, first+tokens, ... of the lane's group to the states.
	__device__ void take(const T *keys, const T *values, const int *blocks, int first, int end, int head, int heads) {
		Vec<T> k[unroll], v[unroll];
		bool there[unroll];
		int piece = threadIdx.x % lanes * N;
		#pragma unroll
		for (int u = 0; u < unroll; u++) {
			int token = first + u * tokens;
			there[u] = token < end;
			token = there[u] ? token : end - 1;
			k[u] = Vec<T>::load(paged(keys, blocks, token, head, heads, DIM) + piece);
			v[u] = Vec<T>::load(paged(values, blocks, token, head, heads, DIM) + piece);
		}
		#pragma unroll
		for (int g = 0; g < G; g++) {
			float score[unroll], top = state[g].most;
			#pragma unroll
			for (int u = 0; u < unroll; u++) {
				float s = 0;
				#pragma unroll
				for (int i = 0; i < N; i++)
					s += q[g][i] * k[u].get(i);
				#pragma unroll
				for (int d = lanes / 2; d > 0; d /= 2)
					s += __shfl_xor_sync(0xffffffffu, s, d);
				score[u] = there[u] ? s : -1e30f;
				top = score[u] > top ? score[u] : top;
			}
			float old = power_of_2(state[g].most - top);
			state[g].most = top;
			state[g].sum *= old;
			#pragma unroll
			for (int i = 0; i < N; i++)
				state[g].acc[i] *= old;
			#pragma unroll
			for (int u = 0; u < unroll; u++) {
				float w = there[u] ? power_of_2(score[u] - top) : 0;
				state[g].sum += w;
				#pragma unroll
				for (int i = 0; i < N; i++)
					state[g].acc[i] += w * v[u].get(i);
			}
		}
	}

	// gather puts the states of all groups of lanes and warps into the one of the
	// first lanes of the first warp.
	__device__ void gather() {
		__shared__ float partial[warps][G][DIM], most[warps][G], sum[warps][G];
		int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
		#pragma unroll
		for (int g = 0; g < G; g++) {
			#pragma unroll
			for (int d = lanes; d < 32; d *= 2) {
				float m = __shfl_xor_sync(0xffffffffu, state[g].most, d), s = __shfl_xor_sync(0xffffffffu, state[g].sum, d), a[N];
				#pragma unroll
				for (int i = 0; i < N; i++)
					a[i] = __shfl_xor_sync(0xffffffffu, state[g].acc[i], d);
				state[g].add(m, s, a);
			}
			if (lane < lanes)
				#pragma unroll
				for (int i = 0; i < N; i++)
					partial[warp][g][lane * N + i] = state[g].acc[i];
			if (lane == 0) {
				most[warp][g] = state[g].most;
				sum[warp][g] = state[g].sum;
			}
		}
		__syncthreads();
		if (warp > 0 || lane >= lanes)
			return;
		#pragma unroll
		for (int g = 0; g < G; g++)
			#pragma unroll
			for (int w = 1; w < warps; w++)
				state[g].add(most[w][g], sum[w][g], &partial[w][g][lane * N]);
	}
};

// Grid: x the spans, y the KV heads times the groups of G query heads, z the sequences.
// q and out have stride numbers a row. With one span the result goes to out; otherwise
// each span leaves its largest score, its sum and its DIM numbers in partials.
template <class T, int DIM, int G>
__device__ void decode(T *out, float *partials, const T *q, const T *keys, const T *values, const int *table, const Sequence *sequences,
                       int q_heads, int kv_heads, int span, int q_stride, int out_stride, float scale) {
	int group = q_heads / kv_heads, groups = (group + G - 1) / G, head = blockIdx.y / groups, first = blockIdx.y % groups * G;
	int heads = group - first < G ? group - first : G, query = head * group + first;
	Sequence s = sequences[blockIdx.z];
	int begin = blockIdx.x * span, end = begin + span < s.keys ? begin + span : s.keys;
	typedef Decode<T, DIM, G> D;
	D d;
	int piece = threadIdx.x % D::lanes * D::N;
	d.load_queries(q + (u64)s.row * q_stride + query * DIM + piece, heads, scale * 1.44269504f);
	#pragma unroll
	for (int g = 0; g < G; g++)
		d.state[g].clear();
	int stride = warps * D::tokens * unroll, warp = threadIdx.x / 32, token = threadIdx.x % 32 / D::lanes;
	for (int t = begin; t < end; t += stride)
		if (t + warp * D::tokens * unroll < end)
			d.take(keys, values, table + s.table, t + warp * D::tokens * unroll + token, end, head, kv_heads);
	d.gather();
	if (threadIdx.x >= D::lanes)
		return;
	#pragma unroll
	for (int g = 0; g < G; g++) {
		if (g >= heads)
			break;
		if (gridDim.x == 1) {
			float inverse = 1 / d.state[g].sum;
			#pragma unroll
			for (int i = 0; i < D::N; i++)
				from_float(out[(u64)s.row * out_stride + (query + g) * DIM + piece + i], d.state[g].acc[i] * inverse);
			continue;
		}
		float *p = partials + (((u64)blockIdx.z * q_heads + query + g) * gridDim.x + blockIdx.x) * (DIM + 2);
		if (threadIdx.x == 0) {
			p[0] = d.state[g].most;
			p[1] = d.state[g].sum;
		}
		#pragma unroll
		for (int i = 0; i < D::N; i++)
			p[2 + piece + i] = d.state[g].acc[i];
	}
}

// combine puts the spans of a query head together. Grid: x the query heads, y the
// sequences; a block has DIM threads. A span beyond a short sequence weighs nothing.
template <class T> __device__ void combine(T *out, const float *partials, const Sequence *sequences, int spans, int out_stride) {
	int dim = blockDim.x, d = threadIdx.x;
	const float *p = partials + ((u64)blockIdx.y * gridDim.x + blockIdx.x) * spans * (dim + 2);
	float top = -1e30f;
	for (int i = 0; i < spans; i++)
		top = p[i * (dim + 2)] > top ? p[i * (dim + 2)] : top;
	float sum = 0, acc = 0;
	for (int i = 0; i < spans; i++) {
		const float *x = p + i * (dim + 2);
		float w = power_of_2(x[0] - top);
		sum += w * x[1];
		acc += w * x[2 + d];
	}
	from_float(out[(u64)sequences[blockIdx.y].row * out_stride + blockIdx.x * dim + d], acc / sum);
}

#define KERNEL(T, DIM, G)                                                                                                               \
	extern "C" __global__ void __launch_bounds__(128)                                                                                   \
		decode_##T##_##DIM##_##G(T *out, float *partials, const T *q, const T *keys, const T *values, const int *table,                 \
	                             const Sequence *sequences, int q_heads, int kv_heads, int span, int q_stride, int out_stride,          \
	                             float scale) {                                                                                         \
		decode<T, DIM, G>(out, partials, q, keys, values, table, sequences, q_heads, kv_heads, span, q_stride, out_stride, scale);      \
	}
#define COMBINE(T)                                                                                                                      \
	extern "C" __global__ void decode_combine_##T(T *out, const float *partials, const Sequence *sequences, int spans, int out_stride) { \
		combine(out, partials, sequences, spans, out_stride);                                                                           \
	}
#define INSTANCE(T) COMBINE(T) KERNEL(T, 64, 1) KERNEL(T, 64, 4) KERNEL(T, 64, 8) KERNEL(T, 128, 1) KERNEL(T, 128, 4) KERNEL(T, 128, 8)
INSTANCE(f16)
INSTANCE(bf16)
COMBINE(float)
KERNEL(float, 64, 4)
KERNEL(float, 128, 4)
