package hwmodel

// Facts are what was measured of a device apart from any operator: the best of each,
// to be held against the data sheet. Figures that nobody measured are 0.
type Facts struct {
	DRAMBytes float64 `toml:"dram_bytes,omitzero"` // bytes per second from device memory
	L2Bytes   float64 `toml:"l2_bytes,omitzero"`   // bytes per second from L2
	Stream    float64 `toml:"stream,omitzero"`     // seconds from one trivial kernel to the next in a stream
	Graph     float64 `toml:"graph,omitzero"`      // the same in a CUDA graph
	ToDevice  float64 `toml:"to_device,omitzero"`  // bytes per second from host to device
	ToHost    float64 `toml:"to_host,omitzero"`    // bytes per second from device to host
	Peer      float64 `toml:"peer,omitzero"`       // bytes per second from device to device, one way
	Source    string  `toml:"source,omitempty"`
}
