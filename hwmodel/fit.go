package hwmodel

// Fit says how far a set of fitted constants can be trusted and where they come
// from.
type Fit struct {
	// Source names the measurements, or for a derived set what it was derived
	// from and how.
	Source string `toml:"source"`
	// Derived tells that no measurement of this operator on this device was at
	// hand.
	Derived bool `toml:"derived"`
	// Rows is the number of measurements fitted, HeldOutRows of those kept out
	// of the fit by a hash of their shape.
	Rows        int `toml:"rows"`
	HeldOutRows int `toml:"held_out_rows"`
	// HeldOutMean and HeldOutMedian are the mean and the median of the
	// absolute relative error on the rows held out.
	HeldOutMean   float64 `toml:"held_out_mean"`
	HeldOutMedian float64 `toml:"held_out_median"`
}
