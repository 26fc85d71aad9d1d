package share

// FIFO runs jobs in the order of their arrival, each to its end. A job for which there is
// no room holds up those behind it, unless Backfill lets them pass where they fit; then
// nothing keeps a wide job from waiting for as long as narrow ones come.
type FIFO struct{ Backfill bool }

// Share implements [Policy].
func (f FIFO) Share(v *View, p *Plan) {
	for j := range v.Jobs {
		keep(v, p, j)
	}
	for j := range v.Jobs {
		if p.Holds[j].Width > 0 {
			continue
		}
		if !p.spare() || !settle(v, p, j) && !f.Backfill {
			return
		}
	}
}
