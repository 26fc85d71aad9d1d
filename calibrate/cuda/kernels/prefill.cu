// Attention of many queries a sequence over a paged KV cache: FlashAttention's online
// softmax over tiles of keys, on tensor cores.
//
// A warp holds 16 queries of one query head in registers, and a block has as many warps
// as the launch says. Tiles of 64 keys and values pass through shared memory, the next
// on its way while this one is multiplied. Rows in shared memory are swizzled by pieces
// of 16 bytes, so that the eight rows of a small matrix lie in different banks. Tiles
// that a causal mask hides from all queries of the block are left out.
//
// Dao, FlashAttention-2 (2023), has the algorithm.
#include "paged.cuh"

const int tile = 64;     // keys
const float hidden = -1e30f; // score of a key that is not seen

__device__ inline void multiply(float d[4], const u32 a[4], const u32 b[2], f16 *) { multiply_f16(d, a, b); }
__device__ inline void multiply(float d[4], const u32 a[4], const u32 b[2], bf16 *) { multiply_bf16(d, a, b); }

// quad_all reduces over the four lanes that share a row of an accumulator.
template <class F> __device__ inline float quad_all(float x, F f) {
	x = f(x, __shfl_xor_sync(0xffffffffu, x, 1));
	return f(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

// Tile is one tile of keys or values in shared memory, tile rows of DIM numbers.
template <class T, int DIM> struct Tile {
	static const int pieces = DIM / 8; // of 16 bytes, in a row
	T *base;

	__device__ T *at(int row, int piece) const { return base + row * DIM + (piece ^ (row & 7)) * 8; }

	// fetch begins to copy the rows from key first on; rows from end on become 0.
	__device__ void fetch(const T *cache, const int *blocks, int first, int end, int head, int heads) const {
		for (int i = threadIdx.x; i < tile * pieces; i += blockDim.x) {
			int row = i / pieces, piece = i % pieces, key = first + row;
			bool there = key < end;
			copy16(at(row, piece), paged(cache, blocks, there ? key : end - 1, head, heads, DIM) + piece * 8, there);
		}
	}
};

// Warp is the state of 16 queries. Lane l has, of an accumulator of 16x8, the columns
// l%4*2 and the next in the rows l/4 (numbers 0 and 1) and l/4+8 (numbers 2 and 3).
template <class T, int DIM> struct Warp {
	u32 q[DIM / 16][4];
	float out[DIM / 8][4];
	float score[tile / 8][4];
	float most[2], sum[2];

	__device__ void begin(const T *rows[2]) {
		int column = threadIdx.x % 4 * 2;
		for (int k = 0; k < DIM / 16; k++)
			for (int i = 0; i < 4; i++)
				q[k][i] = *(const u32 *)(rows[i % 2] + k * 16 + i / 2 * 8 + column);
		for (int j = 0; j < DIM / 8; j++)
			for (int i = 0; i < 4; i++)
				out[j][i] = 0;
		most[0] = most[1] = hidden;
		sum[0] = sum[1] = 0;
	}

	// multiply_keys computes the scores of a tile.
	__device__ void multiply_keys(const Tile<T, DIM> &keys) {
		int lane = threadIdx.x % 32;
		#pragma unroll
		for (int j = 0; j < tile / 8; j++)
			score[j][0] = score[j][1] = score[j][2] = score[j][3] = 0;
		#pragma unroll
		for (int k = 0; k < DIM / 16; k++)
			#pragma unroll
			for (int j = 0; j < tile / 16; j++) {
				u32 b[4]; // two groups of 8 keys, two of 8 elements
				load_matrices(b, keys.at(j * 16 + lane / 16 * 8 + lane % 8, k * 2 + lane / 8 % 2));
				multiply(score[2 * j], q[k], b, (T *)0);
				multiply(score[2 * j + 1], q[k], b + 2, (T *)0);
			}
	}

	// hide takes out the keys from first on that a query does not see: those from
	// seen[0] and seen[1] on, for the lane's two rows.
	__device__ void hide(int first, const int seen[2]) {
		int column = first + threadIdx.x % 4 * 2;
		#pragma unroll
		for (int j = 0; j < tile / 8; j++)
			#pragma unroll
			for (int i = 0; i < 4; i++)
				if (column + j * 8 + i % 2 >= seen[i / 2])
					score[j][i] = hidden;
	}

	// soften turns scores into weights and scales what was added so far.
	__device__ void soften(float scale) {
		#pragma unroll
		for (int r = 0; r < 2; r++) {
			float top = most[r];
			#pragma unroll
			for (int j = 0; j < tile / 8; j++) {
				top = Max()(top, score[j][2 * r] * scale);
				top = Max()(top, score[j][2 * r + 1] * scale);
			}
			top = quad_all(top, Max());
			float old = power_of_2(most[r] - top), s = 0;
			most[r] = top;
			#pragma unroll
			for (int j = 0; j < tile / 8; j++)
				#pragma unroll
				for (int i = 2 * r; i < 2 * r + 2; i++) {
					score[j][i] = power_of_2(score[j][i] * scale - top);
					s += score[j][i];
				}
			sum[r] = sum[r] * old + s;
			#pragma unroll
			for (int j = 0; j < DIM / 8; j++) {
				out[j][2 * r] *= old;
				out[j][2 * r + 1] *= old;
			}
		}
	}

	// multiply_values adds the weighted values of a tile. The accumulators of two
	// groups of 8 keys are, rounded, the first operand of the product.
	__device__ void multiply_values(const Tile<T, DIM> &values) {
		int lane = threadIdx.x % 32;
		#pragma unroll
		for (int k = 0; k < tile / 16; k++) {
			float *x = score[2 * k], *y = score[2 * k + 1];
			u32 a[4] = {pack2<T>(x[0], x[1]), pack2<T>(x[2], x[3]), pack2<T>(y[0], y[1]), pack2<T>(y[2], y[3])};
			#pragma unroll
			for (int j = 0; j < DIM / 16; j++) {
				u32 b[4]; // two groups of 8 elements, two of 8 keys
				load_transposed(b, values.at(k * 16 + lane % 16, j * 2 + lane / 16));
				multiply(out[2 * j], a, b, (T *)0);
				multiply(out[2 * j + 1], a, b + 2, (T *)0);
			}
		}
	}

	__device__ void write(T *rows[2]) {
		int column = threadIdx.x % 4 * 2;
		for (int r = 0; r < 2; r++) {
			float inverse = 1 / quad_all(sum[r], Sum());
			if (rows[r])
				for (int j = 0; j < DIM / 8; j++)
					*(u32 *)(rows[r] + j * 8 + column) = pack2<T>(out[j][2 * r] * inverse, out[j][2 * r + 1] * inverse);
		}
	}
};

// Grid: x the blocks of queries, the last ones (which see the most keys) first; y the
// query heads; z the sequences. q and out have stride numbers a row.
template <class T, int DIM>
__device__ void prefill(T *out, const T *q, const T *keys, const T *values, const int *table, const Sequence *sequences, int kv_heads,
                        int q_stride, int out_stride, int causal, float scale) {
	DYNAMIC_SHARED(memory);
	Sequence s = sequences[blockIdx.z];
	int rows = blockDim.x / 2, first = (gridDim.x - 1 - blockIdx.x) * rows; // 16 a warp
	if (first >= s.queries)
		return;
	int head = blockIdx.y, kv_head = head / (gridDim.y / kv_heads), lane = threadIdx.x % 32;
	int seen[2]; // keys that the lane's rows see
	const T *from[2];
	T *to[2];
	for (int r = 0; r < 2; r++) {
		int row = first + threadIdx.x / 32 * 16 + lane / 4 + r * 8;
		bool there = row < s.queries;
		row = there ? row : s.queries - 1;
		seen[r] = causal ? s.keys - s.queries + row + 1 : s.keys;
		from[r] = q + (u64)(s.row + row) * q_stride + head * DIM;
		to[r] = there ? out + (u64)(s.row + row) * out_stride + head * DIM : (T *)0;
	}
	int last = first + rows < s.queries ? first + rows : s.queries;
	int end = causal ? s.keys - s.queries + last : s.keys;   // keys that some query of the block sees
	int all = causal ? s.keys - s.queries + first + 1 : s.keys; // keys that every query sees
	const int *blocks = table + s.table;

	T *base = (T *)memory;
	const int size = tile * DIM;
	Warp<T, DIM> w;
	w.begin(from);
	Tile<T, DIM> k = {base}, v = {base + size};
	k.fetch(keys, blocks, 0, end, kv_head, kv_heads);
	v.fetch(values, blocks, 0, end, kv_head, kv_heads);
	copy_commit();
	scale *= 1.44269504f;
	for (int t = 0, stage = 0; t < end; t += tile, stage ^= 1) {
		if (t + tile < end) {
			Tile<T, DIM> next_k = {base + (stage ^ 1) * 2 * size}, next_v = {next_k.base + size};
			next_k.fetch(keys, blocks, t + tile, end, kv_head, kv_heads);
			next_v.fetch(values, blocks, t + tile, end, kv_head, kv_heads);
			copy_commit();
			copy_wait<1>();
		} else {
			copy_wait<0>();
		}
		__syncthreads();
		k.base = base + stage * 2 * size;
		v.base = k.base + size;
		w.multiply_keys(k);
		if (t + tile > all)
			w.hide(t, seen);
		w.soften(scale);
		w.multiply_values(v);
		__syncthreads();
	}
	w.write(to);
}

#define KERNEL(T, DIM)                                                                                                                    \
	extern "C" __global__ void __launch_bounds__(256)                                                                                     \
		prefill_##T##_##DIM(T *out, const T *q, const T *keys, const T *values, const int *table, const Sequence *sequences, int kv_heads, \
	                        int q_stride, int out_stride, int causal, float scale) {                                                      \
		prefill<T, DIM>(out, q, keys, values, table, sequences, kv_heads, q_stride, out_stride, causal, scale);                           \
	}
KERNEL(f16, 64)
KERNEL(f16, 128)
KERNEL(bf16, 64)
KERNEL(bf16, 128)
