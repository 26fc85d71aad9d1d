// The fibres of emulate.h, and the memory and the launches of the device.
#include "emulate.h"
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector>

Dim threadIdx, blockIdx, blockDim, gridDim;
uint4 *emulated_shared;

namespace {

const size_t stack_bytes = 128 << 10;

struct Barrier { unsigned waiting, generation; };

struct Copy { void *to; const void *from; bool there; };

struct Fibre {
	ucontext_t begin;
	jmp_buf at;
	bool begun, done;
	Dim thread;
	std::vector<std::vector<Copy>> groups; // of copies that are not made yet; the last is open
};

struct Call { void (*kernel)(); uint64_t ints[14]; float floats[2]; };

// Kernels are called as if they had all of these arguments: whole numbers and addresses
// have registers and the stack to themselves, and so have numbers with a fraction, in
// the calling conventions of Linux on x86-64 and arm64.
typedef uint64_t U;
typedef void Kernel(U, U, U, U, U, U, U, U, U, U, U, U, U, U, float, float);

std::vector<Fibre> fibres;
std::vector<char *> stacks;
Barrier block_barrier, warp_barriers[32];
void *mail[32][32];
jmp_buf scheduler;
Fibre *self;
Call call;
bool progress;
const char *fault;

void yield() {
	if (_setjmp(self->at) == 0)
		_longjmp(scheduler, 1);
}

void arrive(Barrier &b, unsigned of) {
	unsigned generation = b.generation;
	if (++b.waiting == of) {
		b.waiting = 0;
		b.generation++;
		progress = true;
	}
	while (b.generation == generation)
		yield();
}

void run() {
	U *a = call.ints;
	((Kernel *)call.kernel)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], call.floats[0], call.floats[1]);
	self->done = progress = true;
	_longjmp(scheduler, 1);
}

void turn(Fibre &f) {
	self = &f;
	threadIdx = f.thread;
	if (_setjmp(scheduler))
		return;
	if (f.begun)
		_longjmp(f.at, 1);
	f.begun = true;
	setcontext(&f.begin);
}

// run_block lets the threads of a block take turns, the last one first if backward, until
// all are done. It fails if none can go on.
bool run_block(unsigned threads, bool backward) {
	memset(&block_barrier, 0, sizeof block_barrier);
	memset(warp_barriers, 0, sizeof warp_barriers);
	for (unsigned i = 0; i < threads; i++) {
		Fibre &f = fibres[i];
		f.begun = f.done = false;
		f.thread = Dim{i, 0, 0};
		f.groups.assign(1, std::vector<Copy>());
		getcontext(&f.begin);
		f.begin.uc_stack.ss_sp = stacks[i];
		f.begin.uc_stack.ss_size = stack_bytes;
		makecontext(&f.begin, run, 0);
	}
	for (bool left = true; left;) {
		left = progress = false;
		for (unsigned i = 0; i < threads && !fault; i++) {
			Fibre &f = fibres[backward ? threads - 1 - i : i];
			if (!f.done) {
				turn(f);
				left = true;
			}
		}
		if (fault)
			return false;
		if (left && !progress) {
			fault = "threads wait for each other at different barriers";
			return false;
		}
	}
	return true;
}

} // namespace

void emulated_fault(const char *what) {
	fault = what;
	yield();
}

void emulated_block() { arrive(block_barrier, blockDim.x); }

void **emulated_warp(void *mine) {
	unsigned warp = threadIdx.x / 32;
	mail[warp][threadIdx.x % 32] = mine;
	arrive(warp_barriers[warp], 32);
	return mail[warp];
}

void emulated_done() { arrive(warp_barriers[threadIdx.x / 32], 32); }

// A copy that is on its way has left garbage at its place.
void emulated_copy(void *to, const void *from, bool there) {
	if ((uintptr_t)to % 16 || (uintptr_t)from % 16)
		emulated_fault("copy of 16 bytes that are not aligned");
	memset(to, 0xff, 16);
	self->groups.back().push_back(Copy{to, from, there});
}

void emulated_commit() { self->groups.push_back(std::vector<Copy>()); }

void emulated_wait(int last) {
	std::vector<std::vector<Copy>> &g = self->groups;
	while ((int)g.size() - 1 > last) {
		for (const Copy &c : g[0])
			if (c.there)
				memcpy(c.to, c.from, 16);
			else
				memset(c.to, 0, 16);
		g.erase(g.begin());
	}
}

extern "C" {

// emulate_launch runs a kernel over its grid and returns why it could not, or null.
__attribute__((visibility("default"))) const char *emulate_launch(void *kernel, const unsigned *grid, const unsigned *block, uint64_t shared,
                                                                  const uint64_t *ints, uint64_t n_ints, const float *floats, uint64_t n_floats,
                                                                  uint64_t backward) {
	unsigned threads = block[0];
	if (block[1] * block[2] != 1 || threads > 1024 || n_ints > 14 || n_floats > 2)
		return "launch of a form that is not emulated";
	if (fibres.size() < threads)
		fibres.resize(threads);
	while (stacks.size() < threads)
		stacks.push_back((char *)mmap(0, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	call.kernel = (void (*)())kernel;
	memcpy(call.ints, ints, n_ints * sizeof *ints);
	memcpy(call.floats, floats, n_floats * sizeof *floats);
	gridDim = Dim{grid[0], grid[1], grid[2]};
	blockDim = Dim{threads, 1, 1};
	fault = 0;
	uint4 *memory = (uint4 *)aligned_alloc(256, (shared + 511) / 256 * 256);
	emulated_shared = memory;
	uint64_t blocks = (uint64_t)grid[0] * grid[1] * grid[2];
	for (uint64_t b = 0; b < blocks && !fault; b++) {
		uint64_t i = backward ? blocks - 1 - b : b;
		blockIdx = Dim{(unsigned)(i % grid[0]), (unsigned)(i / grid[0] % grid[1]), (unsigned)(i / grid[0] / grid[1])};
		memset(memory, 0xff, shared);
		run_block(threads, backward);
	}
	free(memory);
	return fault;
}

// emulate_alloc returns memory that ends where its pages end (but for alignment to 256
// bytes), so that what goes far past its end is caught; it begins as garbage.
__attribute__((visibility("default"))) void *emulate_alloc(uint64_t bytes) {
	const uint64_t page = 4096;
	uint64_t rounded = (bytes + 255) / 256 * 256, size = (rounded + page - 1) / page * page;
	char *p = (char *)mmap(0, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return 0;
	mprotect(p + size, page, PROT_NONE);
	memset(p, 0xff, size);
	return p + size - rounded;
}

__attribute__((visibility("default"))) void emulate_free(void *p, uint64_t bytes) {
	const uint64_t page = 4096;
	uint64_t rounded = (bytes + 255) / 256 * 256, size = (rounded + page - 1) / page * page;
	munmap((char *)p + rounded - size, size + page);
}

__attribute__((visibility("default"))) void emulate_copy(void *to, const void *from, uint64_t bytes) { memmove(to, from, bytes); }
}
