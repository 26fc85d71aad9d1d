package solvers

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"orrery/internal/names"
	"orrery/workloads/diffusion/analytic"
	"orrery/workloads/diffusion/solver"
	"orrery/workloads/quality"
)

// Bed is a model that schedules are tried on.
type Bed struct {
	Name, What string
	Model      *analytic.Mixture
}

var beds = []struct {
	name, what string
	open       func() (*analytic.Mixture, error)
}{
	{"gaussian", "one Gaussian in the plane, whose flow is known in closed form", func() (*analytic.Mixture, error) {
		return &analytic.Mixture{Components: []analytic.Component{{Weight: 1, Mean: []float64{0, 0}, Values: []float64{0.3, 2}, Vectors: [][]float64{{1, 0}, {0, 1}}}}}, nil
	}},
	{"ring", "eight narrow Gaussians on a circle in the plane", func() (*analytic.Mixture, error) {
		return analytic.Ring(8, math.Sqrt2, 0.15), nil // of unit variance, but for the width
	}},
	{"digits", "handwritten digits in 12 principal components, one Gaussian a class", table("digits", 12)},
	{"satellite", "pixels of satellite pictures in 8 principal components, one Gaussian a kind of soil", table("satellite", 8)},
}

// table fits a mixture to a shipped table of so many dimensions.
func table(name string, dim int) func() (*analytic.Mixture, error) {
	return func() (*analytic.Mixture, error) {
		d, err := quality.Table(name)
		if err != nil {
			return nil, err
		}
		rows := make([][]float64, d.Len())
		for i := range rows {
			rows[i] = d.Row(i)
		}
		return analytic.FitClasses(rows, d.Y, len(d.Classes), dim)
	}
}

// Beds returns the names of the models.
func Beds() []string {
	list := make([]string, len(beds))
	for i := range beds {
		list[i] = beds[i].name
	}
	return list
}

// OpenBed returns the model of that name.
func OpenBed(name string) (*Bed, error) {
	for _, b := range beds {
		if b.name == name {
			m, err := b.open()
			return &Bed{b.name, b.what, m}, err
		}
	}
	return nil, names.Unknown("model", name, Beds())
}

// referenceSteps is the number of evaluations of the flow that schedules are measured against: a
// hundred times those of any search, of a solver of third order.
const referenceSteps = 300

// trial is a set of noises and where the exact flow takes them.
type trial struct{ noise, ends []float64 }

// trial draws n noises of a stream and follows the flow.
func (b *Bed) trial(n int, seed, stream uint64) (*trial, error) {
	draw := rand.New(rand.NewPCG(seed, stream))
	t := &trial{noise: make([]float64, n*b.Model.Dim())}
	for i := range t.noise {
		t.noise[i] = draw.NormFloat64()
	}
	r, err := solver.NewSampler(b.Model, solver.Reference(referenceSteps))
	if err != nil {
		return nil, err
	}
	t.ends = slices.Clone(t.noise)
	inParallel(n, func(i int) { r.Run(t.ends[i*b.Model.Dim() : (i+1)*b.Model.Dim()]) })
	return t, nil
}

// Score says how far the ends of a schedule's trajectories are from those of the exact flow that
// starts from the same noise.
type Score struct {
	RMSE    float64 `json:"rmse"`    // root of the mean squared distance
	Trimmed float64 `json:"trimmed"` // the same without the worst hundredth of the points
	// Frechet is the distance of Frechet between the Gaussians with the moments of both sets
	// of ends, what FID is in a space of features.
	Frechet float64 `json:"frechet"`
	// Astray is the total variation between the shares of the classes that the ends fall to.
	Astray float64 `json:"astray"`
}

// rmse is the root of the mean squared distance; infinite where the schedule ran away.
func (t *trial) rmse(ends []float64, dim int) float64 {
	sum := 0.0
	for i, v := range ends {
		sum += (v - t.ends[i]) * (v - t.ends[i])
	}
	if math.IsNaN(sum) {
		return math.Inf(1)
	}
	return math.Sqrt(sum / float64(len(ends)/dim))
}

// trimmed is rmse without the worst hundredth of the points.
func (t *trial) trimmed(ends []float64, dim int) float64 {
	var squares []float64
	for at := 0; at < len(ends); at += dim {
		sum := 0.0
		for j := range dim {
			d := ends[at+j] - t.ends[at+j]
			sum += d * d
		}
		squares = append(squares, sum)
	}
	slices.Sort(squares)
	kept, sum := squares[:len(squares)-len(squares)/100], 0.0
	for _, q := range kept {
		sum += q
	}
	if math.IsNaN(sum) {
		return math.Inf(1)
	}
	return math.Sqrt(sum / float64(len(kept)))
}

// score judges ends in every way.
func (t *trial) score(m *analytic.Mixture, ends []float64) (Score, error) {
	s := Score{RMSE: t.rmse(ends, m.Dim()), Trimmed: t.trimmed(ends, m.Dim())}
	var err error
	if s.Frechet, err = frechet(ends, t.ends, m.Dim()); err != nil {
		return s, err
	}
	at := m.At(analytic.DataTime)
	a, b := at.Occupancy(ends), at.Occupancy(t.ends)
	for k := range a {
		s.Astray += math.Abs(a[k]-b[k]) / 2
	}
	return s, nil
}

func (b *Bed) String() string { return fmt.Sprintf("%s: %s", b.Name, b.What) }
