package kernel

import "math"

// exp32 returns e to the x with a relative error below 2e-7, for x below 88; what
// would be less than the smallest normal number is 0. It is Cephes's expf (S. L.
// Moshier, Methods and Programs for Mathematical Functions, 1989): x = n ln 2 + r,
// and a polynomial in r. It is three times as fast as math.Exp, which softmax
// and SiLU would otherwise spend most of their time in.
func exp32(x float32) float32 {
	const (
		log2e = 1.44269504088896341
		ln2Hi = 0.693359375 // few bits, so that n*ln2Hi is exact
		ln2Lo = -2.12194440e-4
		round = 3 << 22 // adding it rounds to an integer
	)
	if x < -87.3 {
		return 0
	}
	t := float32(x*log2e) + round
	n := t - round
	r := x - float32(n*ln2Hi)
	r -= float32(n * ln2Lo)
	p := float32(1.9875691500e-4)
	p = float32(p*r) + 1.3981999507e-3
	p = float32(p*r) + 8.3334519073e-3
	p = float32(p*r) + 4.1665795894e-2
	p = float32(p*r) + 1.6666665459e-1
	p = float32(p*r) + 5.0000001201e-1
	p = float32(p*float32(r*r)) + r + 1
	return p * math.Float32frombits(uint32(int32(n)+127)<<23)
}
