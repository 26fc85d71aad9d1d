package kernel

import "math/rand/v2"

// Randomize fills x with numbers from -limit to limit, all equally likely, that follow
// from the seed and the stream. Each draw of 64 bits gives two.
func Randomize(x []float32, limit float32, seed, stream uint64) {
	rng := rand.NewPCG(seed, stream)
	scale := limit / (1 << 31)
	for i := 0; i+1 < len(x); i += 2 {
		u := rng.Uint64()
		x[i], x[i+1] = scale*float32(int32(u)), scale*float32(int32(u>>32))
	}
	if len(x)%2 == 1 {
		x[len(x)-1] = scale * float32(int32(rng.Uint64()))
	}
}
