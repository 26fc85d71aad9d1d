package training

import (
	"fmt"
	"time"
)

// Precision says in which formats a step computes.
type Precision string

// The precisions.
const (
	FP32 Precision = "fp32" // on the units for 32 bits alone
	TF32 Precision = "tf32" // products and convolutions on tensor cores with 19 bits
	AMP  Precision = "amp"  // 16 bits where that is safe, weights and optimiser in 32
)

// Precisions returns all of them.
func Precisions() []Precision { return []Precision{FP32, TF32, AMP} }

// Optimiser is what updates the weights.
type Optimiser string

// The optimisers.
const (
	SGD   Optimiser = "sgd"   // with momentum
	Adam  Optimiser = "adam"  // two moments; AdamW is the same work
	Adam8 Optimiser = "adam8" // its moments in 8 bits
)

// Optimisers returns all of them.
func Optimisers() []Optimiser { return []Optimiser{SGD, Adam, Adam8} }

// traffic is how many numbers of 32 bits an update reads and writes for each weight. With
// weights in 16 bits beside, their copy is half of one more. SGD reads weight, gradient and
// momentum and writes the first and the last.
func (o Optimiser) traffic() (reads, writes float64) {
	switch o {
	case SGD:
		return 3, 2
	case Adam8:
		return 2.5, 1.5
	}
	return 4, 3
}

// Sharding says what of a network's state is split among data-parallel devices (Rajbhandari
// and others, "ZeRO", 2020).
type Sharding string

// The kinds of sharding.
const (
	None  Sharding = "none"
	ZeRO1 Sharding = "zero1" // the optimiser's state
	ZeRO2 Sharding = "zero2" // and gradients
	FSDP  Sharding = "fsdp"  // and weights, gathered layer by layer
	// Hybrid is FSDP within each node, whose nodes hold copies of each other and sum gradients up.
	Hybrid Sharding = "hybrid"
)

// Shardings returns all of them.
func Shardings() []Sharding { return []Sharding{None, ZeRO1, ZeRO2, FSDP, Hybrid} }

// Setup is a training job's step.
type Setup struct {
	Network    string // see Names
	Batch      int    // samples of one device in one pass
	Accumulate int    // passes before the weights change, 0 counts as 1
	Precision  Precision
	Optimiser  Optimiser
	Checkpoint bool // activations are computed again in the backward pass
	LoRA       int  // rank of low-rank adapters that alone are trained, 0 for all weights
	Devices    int  // 0 counts as 1
	PerNode    int  // devices of one node, 0 for all in one
	Sharding   Sharding
	Tree       bool // gradients are summed along trees rather than rings
	Sequence   int  // tokens of a sample, of language models; 0 for the network's own
}

// normal fills in what is left open.
func (s Setup) normal() Setup {
	s.Accumulate, s.Devices = max(s.Accumulate, 1), max(s.Devices, 1)
	if s.PerNode == 0 {
		s.PerNode = s.Devices
	}
	if s.Sharding == "" {
		s.Sharding = None
	}
	if s.Precision == "" {
		s.Precision = AMP
	}
	if s.Optimiser == "" {
		s.Optimiser = Adam
	}
	return s
}

// Nodes returns how many nodes the devices stand in.
func (s *Setup) Nodes() int { return (s.Devices + s.PerNode - 1) / s.PerNode }

// shards returns among how many devices state is split, if it is.
func (s *Setup) shards() int {
	if s.Sharding == Hybrid {
		return min(s.PerNode, s.Devices)
	}
	return s.Devices
}

// Step is what one step of the optimiser takes. All devices do the same.
type Step struct {
	Forward, Backward, Optimise time.Duration // on a device, all passes
	Sync                        time.Duration // exchange between devices
	Exposed                     time.Duration // of that, what nothing hides
	Host                        time.Duration // that the device waits for its host: launches, input, the rest of a step
	Total                       time.Duration
	Samples                     int // over all devices
	Kernels                     int // launches of a device
	FLOPs                       float64
	Derived                     bool // constants of other boards stand for some
}

// Rate returns samples a second.
func (s *Step) Rate() float64 { return float64(s.Samples) / s.Total.Seconds() }

func (s *Setup) check() error {
	switch {
	case s.Batch < 1 || s.Batch > 1<<30:
		return fmt.Errorf("a batch of %d; want 1 or more samples a device", s.Batch)
	case s.Accumulate > 1<<16:
		return fmt.Errorf("%d passes before an update; want up to 65536", s.Accumulate)
	case s.Devices > 1<<20 || s.PerNode < 1:
		return fmt.Errorf("%d devices, %d of a node; want 1 or more", s.Devices, s.PerNode)
	case s.LoRA < 0 || s.LoRA > 1<<16:
		return fmt.Errorf("adapters of rank %d; want 0 for none, or a rank", s.LoRA)
	}
	return nil
}
