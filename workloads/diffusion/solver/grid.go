package solver

import (
	"math"

	"orrery/internal/names"
	"orrery/workloads/diffusion/analytic"
)

// Grid spaces the times of a schedule.
type Grid struct {
	Name string
	What string
	at   func(u float64) float64 // time at a share of the way from noise to data
}

// Grids returns the grids that have a name.
func Grids() []Grid { return grids[:] }

var grids = [...]Grid{
	{"logsnr", "equal steps in log SNR", func(u float64) float64 {
		from, to := analytic.LogSNR(analytic.NoiseTime), analytic.LogSNR(analytic.DataTime)
		return analytic.TimeOf(from + u*(to-from))
	}},
	{"time", "equal steps in time", func(u float64) float64 {
		return analytic.NoiseTime + u*(analytic.DataTime-analytic.NoiseTime)
	}},
	{"quadratic", "equal steps in the root of time", func(u float64) float64 {
		from, to := math.Sqrt(analytic.NoiseTime), math.Sqrt(analytic.DataTime)
		return (from + u*(to-from)) * (from + u*(to-from))
	}},
	{"karras", "Karras and others' (2022): equal steps in the seventh root of sigma/alpha", func(u float64) float64 {
		const rho = 7
		from := math.Exp(-analytic.LogSNR(analytic.NoiseTime) / rho)
		to := math.Exp(-analytic.LogSNR(analytic.DataTime) / rho)
		return analytic.TimeOf(-rho * math.Log(from+u*(to-from)))
	}},
}

// LoadGrid returns the grid of that name.
func LoadGrid(name string) (Grid, error) {
	list := make([]string, len(grids))
	for i, g := range grids {
		if g.Name == name {
			return g, nil
		}
		list[i] = g.Name
	}
	return Grid{}, names.Unknown("grid", name, list)
}

// Times returns the ends of n steps, n+1 times from noise to data.
func (g Grid) Times(n int) []float64 {
	times := make([]float64, n+1)
	for i := range times {
		times[i] = g.at(float64(i) / float64(n))
	}
	times[0], times[n] = analytic.NoiseTime, analytic.DataTime // without the inverse's last digit
	return times
}
