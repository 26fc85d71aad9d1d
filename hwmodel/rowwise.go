package hwmodel

// Stream holds the fitted constants of a kernel that does nothing but move data:
// norms, activations, rotary embeddings, additions, gathers.
type Stream struct {
	Launch    float64 `toml:"launch"`    // seconds, start and end of the kernel
	Bandwidth float64 `toml:"bandwidth"` // share of DRAM bandwidth
	Fit       `toml:"fit"`
}

// Time returns the seconds in which the kernel moves the given bytes on d, reads
// and writes together.
func (s *Stream) Time(d *Device, bytes float64) float64 {
	return s.Launch + bytes/(d.DRAMBytes*s.Bandwidth)
}

// Rowwise groups the data-moving kernels of a transformer layer.
type Rowwise struct {
	Norm       Stream `toml:"norm"`       // RMS and layer norm, with the residual addition fused or not
	Activation Stream `toml:"activation"` // SwiGLU product or GELU
	Rotary     Stream `toml:"rotary"`     // rotary position embedding, also the copy of keys and values into the cache
	Add        Stream `toml:"add"`        // residual addition, also the gather of the token embedding
}
