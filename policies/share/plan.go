package share

import "slices"

// Plan is what a policy gives each job, with the devices that are left.
type Plan struct {
	view  *View
	Holds []Hold // by index in View.Jobs
	free  []int
}

// Begin makes the plan empty, for the jobs and devices of a view.
func (p *Plan) Begin(v *View) {
	p.view = v
	p.Holds = p.Holds[:0]
	for range v.Jobs {
		p.Holds = append(p.Holds, Hold{With: -1})
	}
	p.free = p.free[:0]
	for i := range v.Types {
		p.free = append(p.free, v.Types[i].Devices)
	}
}

// Free returns the devices of a type that nobody has been given.
func (p *Plan) Free(typ int) int { return p.free[typ] }

// Give gives job j width devices of a type in place of what it was given before, and
// returns false, changing nothing, if there are not so many, the job cannot run at that
// width or on that type, or it shares what it has.
func (p *Plan) Give(j, typ, width int) bool {
	job, had := &p.view.Jobs[j], p.Holds[j]
	if had.With >= 0 {
		return false
	}
	if width == 0 {
		p.Take(j)
		return true
	}
	at := slices.Index(job.Widths, width)
	if at < 0 || job.Speed[typ][at] <= 0 {
		return false
	}
	free := p.free[typ]
	if had.Width > 0 && had.Type == typ {
		free += had.Width
	}
	if free < width {
		return false
	}
	p.Take(j)
	p.free[typ] -= width
	p.Holds[j] = Hold{Type: typ, Width: width, With: -1}
	return true
}

// Take takes back what job j was given; a job that shared it keeps it alone.
func (p *Plan) Take(j int) {
	h := p.Holds[j]
	switch {
	case h.Width == 0:
		return
	case h.With >= 0:
		p.Holds[h.With].With = -1
	default:
		p.free[h.Type] += h.Width
	}
	p.Holds[j] = Hold{With: -1}
}

// Join lets job j share the devices of job with, and returns false if the two do not fit
// together, either shares already, or j does not run at that width.
func (p *Plan) Join(j, with int) bool {
	h := p.Holds[with]
	job := &p.view.Jobs[j]
	if j == with || h.Width == 0 || h.With >= 0 || p.Holds[j].Width > 0 || p.view.Together == nil || !slices.Contains(job.Widths, h.Width) {
		return false
	}
	if a, b := p.view.Together(j, with, h.Type); a <= 0 || b <= 0 {
		return false
	}
	p.Holds[with].With = j
	p.Holds[j] = Hold{Type: h.Type, Width: h.Width, With: with}
	return true
}
