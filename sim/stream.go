package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
)

// Stream returns an independent source of random numbers for one purpose. The
// same seed and name give the same numbers on every machine, and adding a
// stream does not shift another, so runs that differ in policy share arrivals.
// The generator is PCG-DXSM keyed by SHA-256 of seed and name.
func Stream(seed uint64, name string) *rand.Rand {
	return rand.New(NewPCG(seed, name))
}

// NewPCG returns the generator behind [Stream], for users of distributions
// that want a [rand.Source].
func NewPCG(seed uint64, name string) *rand.PCG {
	b := binary.LittleEndian.AppendUint64(nil, seed)
	sum := sha256.Sum256(append(b, name...))
	return rand.NewPCG(binary.LittleEndian.Uint64(sum[:8]), binary.LittleEndian.Uint64(sum[8:16]))
}
