// The KV cache of attention, in blocks of 16 tokens as vLLM has it.
#pragma once
#include "common.cuh"

const int block_tokens = 16;

// Sequence is one sequence of a batch, as the host writes it: which rows of the
// queries are its own, how many keys it sees (with those of the new tokens), and where
// its block numbers begin in the table.
struct Sequence { int row, queries, keys, table; };

// paged returns the vector of a token's key or value, dim wide, of one KV head. Within
// a block the tokens of a head lie together.
template <class T> __device__ inline const T *paged(const T *cache, const int *blocks, int token, int head, int heads, int dim) {
	u64 block = blocks[token / block_tokens];
	return cache + ((block * heads + head) * block_tokens + token % block_tokens) * dim;
}
