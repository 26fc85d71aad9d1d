package sim

import (
	"math"
	"time"
)

// Time is a point in simulated time: nanoseconds since the start of the run.
type Time int64

// Forever is later than every event of a run.
const Forever Time = math.MaxInt64

// Add returns t+d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns the duration from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Seconds returns t in seconds.
func (t Time) Seconds() float64 { return float64(t) / 1e9 }

// String formats t as a duration since the start of the run.
func (t Time) String() string {
	if t == Forever {
		return "forever"
	}
	return time.Duration(t).String()
}

// Seconds converts s seconds to a Time, rounded to the nearest nanosecond.
// Values beyond the range of Time saturate at [Forever].
func Seconds(s float64) Time {
	ns := math.Round(s * 1e9)
	if ns >= math.MaxInt64 {
		return Forever
	}
	return Time(ns)
}
