// A convolution as an implicit matrix product, for machines without cuDNN: rows are
// output pixels, columns output channels, and the inner index runs over the taps and
// input channels. Layout NCHW and KCRS, 32-bit arithmetic on the plain cores: a
// baseline, not what a library reaches.
//
// A block of 256 threads computes 64 pixels by 64 channels, 16 taps at a time, and a
// thread 4 by 4 of them.
#include "common.cuh"

struct Conv {
	int n, cin, h, w, cout, kh, kw, sh, sw, ph, pw, groups, oh, ow;
};

const int side = 64, depth = 16;

template <class T> __device__ void conv(T *out, const T *in, const T *weight, const Conv c) {
	__shared__ float a[depth][side + 1], b[depth][side + 1];
	int channels = c.cin / c.groups, filters = c.cout / c.groups, taps = channels * c.kh * c.kw;
	u64 pixels = (u64)c.n * c.oh * c.ow, pixel = (u64)blockIdx.x * side;
	int group = blockIdx.z, filter = blockIdx.y * side;
	float acc[4][4] = {};
	int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
	for (int k = 0; k < taps; k += depth) {
		for (int i = threadIdx.x; i < depth * side; i += blockDim.x) {
			int t = k + i / side;
			u64 p = pixel + i % side;
			float x = 0;
			if (t < taps && p < pixels) {
				int channel = t / (c.kh * c.kw), r = t / c.kw % c.kh, s = t % c.kw;
				int image = (int)(p / (c.oh * c.ow)), y = (int)(p / c.ow % c.oh) * c.sh - c.ph + r, z = (int)(p % c.ow) * c.sw - c.pw + s;
				if (y >= 0 && y < c.h && z >= 0 && z < c.w)
					x = to_float(in[(((u64)image * c.cin + group * channels + channel) * c.h + y) * c.w + z]);
			}
			a[i / side][i % side] = x;
		}
		for (int i = threadIdx.x; i < depth * side; i += blockDim.x) {
			int t = k + i % depth, f = filter + i / depth;
			b[i % depth][i / depth] = t < taps && f < filters ? to_float(weight[((u64)group * filters + f) * taps + t]) : 0;
		}
		__syncthreads();
		for (int t = 0; t < depth; t++)
			for (int i = 0; i < 4; i++)
				for (int j = 0; j < 4; j++)
					acc[i][j] += a[t][tx + 16 * i] * b[t][ty * 4 + j];
		__syncthreads();
	}
	for (int i = 0; i < 4; i++)
		for (int j = 0; j < 4; j++) {
			u64 p = pixel + tx + 16 * i;
			int f = filter + ty * 4 + j;
			if (p >= pixels || f >= filters)
				continue;
			u64 plane = (u64)c.oh * c.ow;
			from_float(out[(p / plane * c.cout + group * filters + f) * plane + p % plane], acc[i][j]);
		}
}

#define INSTANCE(T)                                                                              \
	extern "C" __global__ void conv_##T(T *out, const T *in, const T *weight, const Conv *shape) { \
		conv(out, in, weight, *shape);                                                           \
	}
INSTANCE(float)
INSTANCE(f16)
INSTANCE(bf16)
