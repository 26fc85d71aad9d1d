package hwmodel

// Key names the measurements that a set of kernel constants stands for. The library
// that runs a kernel matters as much as the board: two serving engines on one A100
// differ by 18 to 25 % on the same attention call.
type Key struct {
	Engine string `toml:"engine"` // library that runs the kernel, such as vllm, sglang, trtllm, or who measured it
	DType  string `toml:"dtype"`  // of the operands: fp32, tf32, fp16, bf16, fp8, int8, w8a16, ...
}

// Estimate is a predicted time and how far it can be trusted.
type Estimate struct {
	Seconds float64
	// Band is the half-width of the 90 % band of ln(true time / Seconds): nine in
	// ten measurements lie between Seconds*exp(-Band) and Seconds*exp(+Band).
	Band float64
	// Derived tells that the constants come from another device, library or
	// precision than the one asked for.
	Derived bool
}

// Tensor16 tells whether dtype is one of the two 16-bit formats, which run at the
// same rate on every tensor core since Ampere, so that one's constants serve the other.
func Tensor16(dtype string) bool { return dtype == "fp16" || dtype == "bf16" }

// Match says how well constants under k serve a call by engine with operands of
// dtype: 0 not at all, higher is better, 4 exact.
func (k Key) Match(engine, dtype string) int {
	same := k.DType == dtype || Tensor16(k.DType) && Tensor16(dtype)
	switch {
	case k.Engine == engine && k.DType == dtype:
		return 4
	case k.Engine == engine && same:
		return 3
	case k.DType == dtype:
		return 2
	case same:
		return 1
	}
	return 0
}

// Best returns the index of the first of n entries, keyed by key, that serves a call
// by engine with operands of dtype best, and whether it is exact in all but the
// 16-bit format. It returns -1 if none serves.
func Best(n int, key func(i int) Key, engine, dtype string) (i int, exact bool) {
	i, best := -1, 0
	for j := range n {
		if m := key(j).Match(engine, dtype); m > best {
			i, best = j, m
		}
	}
	return i, best >= 3
}
