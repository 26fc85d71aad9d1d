package jobs

import (
	"math"
	"time"

	"orrery/policies/share"
	"orrery/sim"
)

// devices are all of one type, on their nodes.
type devices struct {
	share.Type
	nodes  []node
	down   int // failed
	held   int // by jobs
	taken  int // by others
	wanted int // by others
}

// node has free, held, failed and taken devices.
type node struct{ size, held, down, taken int }

func (n *node) free() int { return n.size - n.held - n.down - n.taken }

// place is some devices of a node.
type place struct{ node, n int }

func newDevices(t share.Type) devices {
	d := devices{Type: t}
	size := t.Node
	if size == 0 {
		size = max(t.Devices, 1)
	}
	for left := t.Devices; left > 0; left -= size {
		d.nodes = append(d.nodes, node{size: min(size, left)})
	}
	return d
}

// available returns the devices that jobs may have.
func (d *devices) available() int { return max(d.Devices-d.down-d.wanted, 0) }

// take takes n free devices: of the fullest node that has room for all, or else of the
// emptiest nodes.
func (d *devices) take(n int) []place {
	d.held += n
	best := -1
	for i := range d.nodes {
		if f := d.nodes[i].free(); f >= n && (best < 0 || f < d.nodes[best].free()) {
			best = i
			if f == n {
				break
			}
		}
	}
	if best >= 0 {
		d.nodes[best].held += n
		return []place{{best, n}}
	}
	var out []place
	for n > 0 {
		most := -1
		for i := range d.nodes {
			if f := d.nodes[i].free(); f > 0 && (most < 0 || f > d.nodes[most].free()) {
				most = i
			}
		}
		if most < 0 {
			panic("jobs: more devices are given than there are")
		}
		k := min(n, d.nodes[most].free())
		d.nodes[most].held += k
		out = append(out, place{most, k})
		n -= k
	}
	return out
}

// give gives devices back.
func (d *devices) give(on []place) {
	for _, p := range on {
		d.nodes[p.node].held -= p.n
		d.held -= p.n
	}
}

// settle takes free devices for others, the last nodes first, or gives some back.
func (d *devices) settle() {
	for i := len(d.nodes) - 1; i >= 0 && d.taken != d.wanted; i-- {
		n := &d.nodes[i]
		switch {
		case d.taken < d.wanted:
			k := min(n.free(), d.wanted-d.taken)
			n.taken, d.taken = n.taken+k, d.taken+k
		default:
			k := min(n.taken, d.taken-d.wanted)
			n.taken, d.taken = n.taken-k, d.taken-k
		}
	}
}

// scheduleFailure draws when the next device fails, of all there are: one that is not in
// service then does not.
func (r *Room) scheduleFailure(now sim.Time) {
	all := 0
	for i := range r.types {
		all += r.types[i].Devices
	}
	if r.cfg.Failing == 0 || all == 0 {
		return
	}
	wait := r.failures.ExpFloat64() * float64(r.cfg.Failing) / float64(all)
	if wait < math.MaxInt64/4 {
		r.engine.At(now.Add(max(time.Duration(wait), 1)), r.fail, uint32(r.failures.IntN(all)))
	}
}

// onFail is the failure of one device.
func (r *Room) onFail(now sim.Time, number uint32) {
	if r.done() {
		return
	}
	r.scheduleFailure(now)
	k := int(number)
	for t := range r.types {
		d := &r.types[t]
		if k >= d.Devices {
			k -= d.Devices
			continue
		}
		for i := range d.nodes {
			if k >= d.nodes[i].size {
				k -= d.nodes[i].size
				continue
			}
			r.failOn(now, t, i, k)
			return
		}
	}
}

// failOn is the failure of device k of a node. Of a node's devices the held ones come first,
// in the order in which jobs arrived, then the free ones.
func (r *Room) failOn(now sim.Time, typ, at, k int) {
	d := &r.types[typ]
	n := &d.nodes[at]
	if k >= n.size-n.down-n.taken {
		return // it is out of service already, or somebody else's
	}
	r.count(now)
	r.out.Failures++
	for _, j := range r.active {
		if j.hold.Width == 0 || j.hold.Type != typ || j.with != nil && j.with.ID < j.ID {
			continue
		}
		for _, p := range j.on {
			if p.node != at {
				continue
			}
			if k < p.n {
				with := j.with
				r.fall(now, j)
				if with != nil {
					r.fall(now, with)
				}
				k = -1
			}
			k -= p.n
		}
		if k < 0 {
			break
		}
	}
	n.down++
	d.down++
	r.engine.At(now.Add(r.cfg.Repair), r.repair, uint32(typ)<<24|uint32(at))
	r.wake(now)
}

// fall stops a job whose device has failed.
func (r *Room) fall(now sim.Time, j *job) {
	j.update(now)
	j.Failures++
	r.record(now, Failed, j, 0)
	r.stop(now, j, Stopped, j.Done-j.kept)
}

func (r *Room) onRepair(now sim.Time, which uint32) {
	r.count(now)
	d := &r.types[which>>24]
	d.nodes[which&(1<<24-1)].down--
	d.down--
	r.wake(now)
}
