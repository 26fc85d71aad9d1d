package calibrate

import (
	"math"

	"orrery/workloads/training"
)

// FitLinks finds the rates of a system's links under which steps are predicted best, in the
// mean of the logarithms of their ratios: from where it starts, each rate a tenth or a
// quarter up or down as long as that helps.
func FitLinks(start training.Links, predict func(l training.Links) ([]Whole, error)) (training.Links, error) {
	score := func(l training.Links) (float64, error) {
		wholes, err := predict(l)
		sum := 0.0
		for i := range wholes {
			sum += math.Abs(math.Log(wholes[i].Predicted / wholes[i].Measured))
		}
		return sum / float64(len(wholes)), err
	}
	best, err := score(start)
	if err != nil {
		return start, err
	}
	for improved := true; improved; {
		improved = false
		for _, factor := range []float64{1.25, 1 / 1.25, 1.1, 1 / 1.1} {
			for rate := range 3 {
				l := start
				p := []*float64{&l.Pair, &l.Path, &l.Network}[rate]
				*p = round3(*p * factor)
				got, err := score(l)
				if err != nil {
					return start, err
				}
				if got < best-1e-4 {
					best, start, improved = got, l, true
				}
			}
		}
	}
	return start, nil
}

// round3 keeps three digits.
func round3(v float64) float64 {
	if v == 0 {
		return 0
	}
	unit := math.Pow(10, math.Floor(math.Log10(v))-2)
	return math.Round(v/unit) * unit
}
