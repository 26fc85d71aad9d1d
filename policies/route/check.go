package route

import "fmt"

// The Check methods say what is wrong with the settings of a router, by the keys that
// scenarios give them. A router without such a method is taken as it is.

// Check returns an error unless the router can route.
func (p SharedQueue) Check() error { return between("slots", int64(p.Slots), 1) }

// Check returns an error unless the router can route.
func (p *PrefixAffinity) Check() error {
	switch {
	case !(p.MinMatch >= 0 && p.MinMatch < 1):
		return fmt.Errorf("min_match is %v; want a share of the prompt from 0 up to, but not, 1", p.MinMatch)
	case !(p.ImbalanceRatio >= 1 && p.ImbalanceRatio <= 1e6):
		return fmt.Errorf("imbalance_ratio is %v; want a factor of 1 to 1e6", p.ImbalanceRatio)
	}
	if err := between("imbalance_requests", int64(p.ImbalanceRequests), 0); err != nil {
		return err
	}
	return between("index_parts", int64(p.IndexParts), 0)
}

// Check returns an error unless the router can route.
func (p *PrefixCost) Check() error {
	if !(p.MatchWeight >= 0 && p.MatchWeight <= 1e6) {
		return fmt.Errorf("match_weight is %v; want 0 to 1e6 tokens of load for a cached one", p.MatchWeight)
	}
	return between("index_parts", int64(p.IndexParts), 0)
}

// Check returns an error unless the router can route.
func (p *SessionAffinity) Check() error { return between("sessions_kept", int64(p.Sessions), 0) }

func between(key string, n, low int64) error {
	const most = 1 << 30
	if n < low || n > most {
		return fmt.Errorf("%s is %d; want %d to %d", key, n, low, most)
	}
	return nil
}
