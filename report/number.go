package report

import (
	"math"
	"strconv"
)

// Number is a float64 whose NaN and infinities are null in JSON: a figure that
// does not exist, such as a quantile of no samples.
type Number float64

// None is the figure that does not exist.
var None = Number(math.NaN())

// Exists tells whether n is a finite figure.
func (n Number) Exists() bool { return !math.IsNaN(float64(n)) && !math.IsInf(float64(n), 0) }

// MarshalJSON writes the shortest decimal that reads back as n, or null.
func (n Number) MarshalJSON() ([]byte, error) {
	if !n.Exists() {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(n), 'g', -1, 64), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (n *Number) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*n = None
		return nil
	}
	f, err := strconv.ParseFloat(string(b), 64)
	*n = Number(f)
	return err
}

// ratio returns a/b, and None if b is 0.
func ratio(a, b float64) Number {
	if b == 0 {
		return None
	}
	return Number(a / b)
}

// round6 keeps six significant digits, enough for a plot.
func round6(x float64) float64 {
	if x == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return x
	}
	r, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 6, 64), 64)
	if err != nil {
		return x
	}
	return r
}
