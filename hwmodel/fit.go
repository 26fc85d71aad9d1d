package hwmodel

// Fit says how far a set of fitted constants can be trusted and where they come
// from. Errors are of rows whose shape had no part in the fit: by cross-validation,
// where each shape is predicted by constants fitted without it.
type Fit struct {
	// Source names the measurements, or for a derived set what it was derived
	// from and how.
	Source string `toml:"source"`
	// Derived tells that no measurement of this operator on this device was at
	// hand.
	Derived bool `toml:"derived"`
	// Rows is the number of measurements fitted, HeldOutRows of those predicted
	// without having been fitted.
	Rows        int `toml:"rows"`
	HeldOutRows int `toml:"held_out_rows"`
	// HeldOutMean, HeldOutMedian and HeldOutP90 are the mean, the median and the
	// 90th percentile of the absolute relative error on the rows held out.
	HeldOutMean   float64 `toml:"held_out_mean"`
	HeldOutMedian float64 `toml:"held_out_median"`
	HeldOutP90    float64 `toml:"held_out_p90,omitzero"`
	// Baseline is HeldOutMean of a roofline with three constants (compute and
	// bandwidth efficiency, overhead) fitted to the same rows.
	Baseline float64 `toml:"baseline,omitzero"`
	// Band is the half-width of the 90 % band of ln(measured / predicted) on the
	// rows held out, see [Estimate].
	Band float64 `toml:"band,omitzero"`
	// Spread is the standard deviation, over groups of shapes that one model uses
	// together, of the mean of ln(measured / predicted): the part of the error that
	// does not average out over the operators of a model.
	Spread float64 `toml:"spread,omitzero"`
}
