package share

// Packed lets jobs for which Under has no devices share those of jobs that run, two on the
// same ones, where what both keep of their speed alone adds up to more than Least. The
// partner is the one with which that sum is largest.
type Packed struct {
	Under Policy
	Least float64 // 0 counts as 1: together they then get more done than taking turns
}

// partners is how many jobs a waiting one is tried with at most, so that a round takes a
// time in proportion to the jobs.
const partners = 64

// Share implements [Policy].
func (k Packed) Share(v *View, p *Plan) {
	k.Under.Share(v, p)
	if v.Together == nil {
		return
	}
	least := k.Least
	if least == 0 {
		least = 1
	}
	var hosts []int
	for j := range p.Holds {
		if p.Holds[j].Width > 0 && p.Holds[j].With < 0 {
			hosts = append(hosts, j)
		}
	}
	for j := range p.Holds {
		if len(hosts) == 0 {
			return
		}
		if p.Holds[j].Width > 0 {
			continue
		}
		if at := k.partner(v, p, j, hosts, least); at >= 0 && p.Join(j, hosts[at]) {
			hosts = append(hosts[:at], hosts[at+1:]...)
		}
	}
}

// partner returns the index in hosts of the best job for j to join, -1 for none.
func (k Packed) partner(v *View, p *Plan, j int, hosts []int, least float64) int {
	best := -1
	held := v.Jobs[j].Held
	for at, with := range hosts[:min(len(hosts), partners)] {
		h := p.Holds[with]
		if !fits(&v.Jobs[j], h) {
			continue
		}
		a, b := v.Together(j, with, h.Type)
		sum := a + b
		if held.With == with && held.Width == h.Width && held.Type == h.Type {
			sum *= 1.05 // a pair stays together unless another is clearly better
		}
		if a > 0 && b > 0 && sum > least {
			best, least = at, sum
		}
	}
	return best
}

// fits reports whether a job runs at the width and on the type of a hold.
func fits(job *Job, h Hold) bool {
	for at, w := range job.Widths {
		if w == h.Width {
			return job.Speed[h.Type][at] > 0
		}
	}
	return false
}
