package kernels

import (
	"encoding/binary"
	"math"
)

// ropeBase is Llama's.
const ropeBase = 1e4

// Angle returns the cosine and sine that rotate pair i of a head of the given width at a
// position.
func Angle(position, i, dim int) (cosine, sine float32) {
	s, c := math.Sincos(float64(position) * math.Pow(ropeBase, -2*float64(i)/float64(dim)))
	return float32(c), float32(s)
}

// Angles lays out the angles of positions from 0 on as the kernels read them: of each
// position the cosines and then the sines.
func Angles(positions, dim int) []byte {
	data := make([]byte, 0, positions*dim*4)
	for row := range positions {
		for part := range 2 {
			for i := range dim / 2 {
				c, s := Angle(row, i, dim)
				data = binary.LittleEndian.AppendUint32(data, math.Float32bits([2]float32{c, s}[part]))
			}
		}
	}
	return data
}
