package jobs

// Class is a kind of training job.
type Class struct {
	Name string
	// Noise is the batch, in batches of one device, at which a sample is worth half of one
	// in a very small batch: the gradient noise scale of McCandlish and others (2018). It
	// changes over a run and was not measured here; these are orders of magnitude.
	Noise float64
	// Restart is how long a start from a checkpoint takes, in seconds, as the authors of Sia
	// measured it on their cluster.
	Restart float64
	samples [3][]float64 // a second, by type and width
}

// Types are the devices that have rates: nodes of eight, joined by Ethernet or InfiniBand.
var Types = []string{"2080ti", "v100", "a100"}

// Widths are the numbers of devices that have rates.
var Widths = []int{1, 2, 4, 8, 16}

// Classes returns the kinds of jobs, shortest first. Rates are samples a second, the best of
// all batches that were measured, on one node up to width 8 and on two at 16, to three
// digits: from the traces published with "Sia: Heterogeneity-aware, goodput-optimized ML-cluster scheduling"
// (Jayaram Subramanya and others, SOSP 2023; siasosp23/artifacts, AdaptDL on PyTorch 1.9;
// data loading is part of a step).
func Classes() []Class {
	return []Class{
		{"cifar10", 8, 30, [3][]float64{
			{3190, 6570, 12800, 24000, 44700}, {4740, 9400, 18200, 32200, 50500}, {10100, 20100, 38100, 69700, 114000},
		}},
		{"deepspeech2", 4, 25, [3][]float64{
			{60.4, 104, 200, 391, 522}, {80.7, 147, 256, 282, 446}, {71.4, 140, 228, 350, 483},
		}},
		{"bert", 8, 120, [3][]float64{
			{26.9, 47.3, 82.1, 114, 192}, {42.2, 81.9, 149, 215, 430}, {140, 290, 549, 1120, 2170},
		}},
		{"imagenet", 32, 250, [3][]float64{
			{349, 871, 1690, 3080, 5760}, {673, 959, 2240, 3010, 9720}, {1020, 2010, 3620, 6980, 11600},
		}},
	}
}

// efficiency is what a sample is worth on a number of devices, each with its own batch, over
// what it is worth on one.
func (c *Class) efficiency(width int) float64 {
	return (c.Noise + 1) / (c.Noise + float64(width))
}
