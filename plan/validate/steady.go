package validate

import (
	"context"
	"time"
)

// Steadiness measures whether a machine can be measured at all: it runs the same
// iterations three times, for about d each, and returns how much longer the slowest
// time took than the fastest, less 1.
func Steadiness(ctx context.Context, m Machine, subjects []Subject, seed uint64, d time.Duration) (float64, error) {
	l, err := newLadder(m, subjects, seed)
	if err != nil {
		return 0, err
	}
	defer m.Reset()
	fastest, slowest := 0.0, 0.0
	for k := range 3 {
		m.Reset()
		if err := l.gauge(ctx, d); err != nil {
			return 0, err
		}
		took := 0.0
		for _, s := range l.samples[l.gauges[k].from:l.gauges[k].to] {
			took += s.Seconds
		}
		took /= float64(l.gauges[k].to - l.gauges[k].from)
		if k == 0 || took < fastest {
			fastest = took
		}
		slowest = max(slowest, took)
	}
	return slowest/fastest - 1, nil
}
