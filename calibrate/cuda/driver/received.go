package driver

// want is a number that a device should have received at a place.
type want struct {
	at    int64
	value float64
}

// received returns what device i holds after a collective over count numbers, of which
// device j sent j+1: the first and the last number of each share.
func received(name string, i, devices int, count int64) []want {
	share, sum := count/int64(devices), float64(devices*(devices+1))/2
	both := func(from, n int64, value float64) []want { return []want{{from, value}, {from + n - 1, value}} }
	switch name {
	case "all_reduce":
		return both(0, count, sum)
	case "reduce_scatter":
		return both(0, share, sum)
	case "broadcast":
		return both(0, count, 1)
	case "send_recv", "copy":
		if i == 1 {
			return both(0, count, 1)
		}
		return nil
	}
	var all []want // all_gather and alltoall: device j's share is at place j
	for j := range devices {
		all = append(all, both(int64(j)*share, share, float64(j+1))...)
	}
	return all
}
