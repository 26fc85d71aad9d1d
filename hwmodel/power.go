package hwmodel

// The kinds of work that a [Power] is fitted for. They differ in what is counted: of text
// weights and KV cache alone are bytes, of images the operands of every operator.
const (
	TextWork  = "text"
	ImageWork = "image"
)

// Power is how many watts one device draws on work of a kind, by what it does:
//
//	idle     Idle
//	at work  min(Limit, Idle + Serving + Compute*(share of the peak FLOP/s) + Memory*(share of the peak bandwidth))
//
// Work is an iteration under way, its host time included: devices keep their clocks up
// between kernels, and a share is of that time. Compute and Memory are slopes, not what
// the board draws at its peaks: it is held at its limit, by a lower clock, long before. Idle is
// with a model loaded, which draws more than a device that no process has opened.
type Power struct {
	Kind    string  `toml:"kind"`    // of work
	Idle    float64 `toml:"idle"`    // watts
	Serving float64 `toml:"serving"` // watts
	Compute float64 `toml:"compute"` // watts at the peak rate of the operands' format
	Memory  float64 `toml:"memory"`  // watts at the peak bandwidth
	Limit   float64 `toml:"limit"`   // watts
	Fit     `toml:"fit"`
}

// Exertion is what a device did in some stretch of time, or several devices together, in
// seconds of one device.
type Exertion struct {
	Busy    float64 // with an iteration under way
	Compute float64 // that its FLOPs would take at the peak rate
	Memory  float64 // that its bytes would take at the peak bandwidth
}

// Add adds another stretch.
func (e *Exertion) Add(o Exertion) {
	e.Busy += o.Busy
	e.Compute += o.Compute
	e.Memory += o.Memory
}

// Times returns n such stretches.
func (e Exertion) Times(n float64) Exertion {
	return Exertion{e.Busy * n, e.Compute * n, e.Memory * n}
}

// Joules returns the energy of e above that of idling.
func (p *Power) Joules(e Exertion) float64 {
	wanted := float64(p.Serving*e.Busy) + float64(p.Compute*e.Compute) + float64(p.Memory*e.Memory)
	return min(wanted, (p.Limit-p.Idle)*e.Busy)
}

// Watts returns the mean draw of a device that does e in a second.
func (p *Power) Watts(e Exertion) float64 { return p.Idle + p.Joules(e) }

// Scaled returns the power of a board of another limit, all of it in proportion. It says
// nothing of where it comes from.
func (p *Power) Scaled(limit float64) Power {
	f := limit / p.Limit
	return Power{Kind: p.Kind, Idle: p.Idle * f, Serving: p.Serving * f, Compute: p.Compute * f, Memory: p.Memory * f, Limit: limit}
}

// Effort says how much of the devices of a replica an iteration takes. Implementations
// cost a constant and keep nothing.
type Effort interface {
	// Exert returns the device-seconds that the FLOPs and bytes of b take at the peaks,
	// over all devices of the replica.
	Exert(b *Batch) (compute, memory float64)
}

// power refuses watts that no board can draw.
func (c *checker) power(name string, p *Power) {
	c.positive(name+".idle", p.Idle)
	c.time(name+".serving", p.Serving)
	c.time(name+".compute", p.Compute)
	c.time(name+".memory", p.Memory)
	c.positive(name+".limit", p.Limit)
	if p.Kind != TextWork && p.Kind != ImageWork {
		c.fail("%s.kind is %q, must be %q or %q", name, p.Kind, TextWork, ImageWork)
	}
	if p.Idle+p.Serving > p.Limit {
		c.fail("%s.idle and serving are %g and %g watts, together above the limit %g", name, p.Idle, p.Serving, p.Limit)
	}
}

// PowerFor returns the power of the device on work of a kind, nil if it is not known.
func (p *Profile) PowerFor(kind string) *Power {
	for i := range p.Powers {
		if p.Powers[i].Kind == kind {
			return &p.Powers[i]
		}
	}
	return nil
}
