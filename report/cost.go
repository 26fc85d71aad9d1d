package report

import (
	"math"

	"orrery/cluster"
	"orrery/hwmodel"
	"orrery/sim"
)

// Supply is what recorders must know of the devices of a replica to say what they cost, in
// hours, money and joules. What is not known is left out.
type Supply struct {
	Devices      int     // 0 if not known
	PricePerHour float64 // of one device, in any currency; 0 if not known

	Power  *hwmodel.Power
	Effort hwmodel.Effort // of iterations of text
	// Images has the effort of one denoising step of one image, by class and rung, its share
	// of encoding and decoding included.
	Images [][]hwmodel.Exertion
}

// Cost is what the devices took over the window, all runs together if several were merged.
// Figures are null where a price or a power is not known. Energy is that of the devices alone:
// hosts, networks and cooling come on top.
type Cost struct {
	GPUHours     Number `json:"gpu_hours"`      // with devices provisioned
	GPUHoursBusy Number `json:"gpu_hours_busy"` // of those, at work
	Price        Number `json:"price"`          // of GPUHours, in the currency of the prices
	EnergyJ      Number `json:"energy_j"`
	IdleJ        Number `json:"idle_j"` // of those, what idling all along would have taken
	// EnergyBand is the half-width of the 90 % band of the logarithm of the energy above that
	// of idling, and EnergyDerived tells that some power was not measured on such a device.
	EnergyBand    Number `json:"energy_band"`
	EnergyDerived bool   `json:"energy_derived"`
	// EnergyLowJ and EnergyHighJ are the ends of that band.
	EnergyLowJ  Number `json:"energy_low_j"`
	EnergyHighJ Number `json:"energy_high_j"`
	WattsMean   Number `json:"watts_mean"` // of a device

	// What was finished in the window shares all of it, idle time included: texts what
	// the replicas took, images what the devices of pools took.
	PricePerRequest       Number `json:"price_per_request"`
	PricePerMillionTokens Number `json:"price_per_million_tokens"` // of output
	JoulesPerRequest      Number `json:"joules_per_request"`
	JoulesPerToken        Number `json:"joules_per_token"` // of output
	PricePerImage         Number `json:"price_per_image"`
	JoulesPerImage        Number `json:"joules_per_image"`
}

// spend adds the energy of an iteration above that of idling. Its device time is its own
// from the decision to its end, or in a pipeline, where iterations overlap, that of its stages.
func (u *use) spend(it *cluster.Iteration) {
	s := &u.spec.Supply
	if s.Effort == nil || s.Power == nil {
		return
	}
	var e hwmodel.Exertion
	if len(it.Stages) == 1 {
		e.Busy = float64(it.End-it.Start) * 1e-9 * float64(s.Devices)
	} else {
		for i := range it.Stages {
			e.Busy += float64(it.Stages[i].End-it.Stages[i].Start) * 1e-9
		}
		e.Busy *= float64(s.Devices) / float64(len(it.Stages))
	}
	e.Compute, e.Memory = s.Effort.Exert(&it.Batch)
	u.now.joules += s.Power.Joules(e)
}

// paint adds what an image took that has left its device, finished or not.
func (m *Metrics) paint(s *cluster.Served, at sim.Time) {
	if at < m.cfg.WarmUp || int(s.Replica) >= len(m.replicas) || s.Replica < 0 {
		return
	}
	u := &m.replicas[s.Replica]
	if c := int(s.Class) - 1; c < len(u.spec.Supply.Images) && int(s.Rung) < len(u.spec.Supply.Images[c]) {
		u.images.Add(u.spec.Supply.Images[c][s.Rung].Times(float64(s.Emitted)))
	}
}

// bill is what some of the replicas took.
type bill struct {
	hours, busy   float64
	price         float64
	idle, joules  float64 // joules above idling
	low, high     float64 // of the same
	unpriced      bool
	unknown       bool // some power
	derived       bool
	hoursNotKnown bool
}

// add adds a replica.
func (b *bill) add(u *use) {
	s := &u.spec.Supply
	span := u.span.Seconds()
	hours := span * float64(s.Devices) / 3600
	b.hours += hours
	b.price += hours * s.PricePerHour
	b.hoursNotKnown = b.hoursNotKnown || s.Devices == 0
	b.unpriced = b.unpriced || s.PricePerHour == 0
	var busy float64
	for _, d := range u.stages {
		busy += float64(d) * 1e-9 / float64(len(u.stages))
	}
	b.busy += busy * float64(s.Devices) / 3600
	if s.Power == nil {
		b.unknown = true
		return
	}
	joules := u.total.joules
	if u.spec.Images {
		e := u.images
		e.Busy = busy
		joules = s.Power.Joules(e)
	}
	b.idle += s.Power.Idle * span * float64(s.Devices)
	b.joules += joules
	b.low += joules * math.Exp(-s.Power.Band)
	b.high += min(joules*math.Exp(s.Power.Band), (s.Power.Limit-s.Power.Idle)*span*float64(s.Devices))
	b.derived = b.derived || s.Power.Derived
}

// all returns the price and the joules, where they are known.
func (b *bill) all() (price, joules Number) {
	price, joules = Number(b.price), Number(b.idle+b.joules)
	if b.unpriced || b.hoursNotKnown {
		price = None
	}
	if b.unknown {
		joules = None
	}
	return price, joules
}

// cost fills in what the run cost.
func (m *Metrics) cost(r *Result) {
	var text, images, both bill
	var tokens int64
	for i := range m.replicas {
		u := &m.replicas[i]
		both.add(u)
		if u.spec.Images {
			images.add(u)
		} else {
			text.add(u)
			tokens += u.total.emitted
		}
	}
	c := &r.Cost
	*c = noCost()
	if len(m.replicas) == 0 || both.hoursNotKnown {
		return
	}
	c.GPUHours, c.GPUHoursBusy = Number(both.hours), Number(both.busy)
	c.Price, c.EnergyJ = both.all()
	if !both.unknown {
		c.IdleJ, c.EnergyDerived = Number(both.idle), both.derived
		c.EnergyLowJ, c.EnergyHighJ = Number(both.idle+both.low), Number(both.idle+both.high)
		if both.low > 0 {
			c.EnergyBand = Number(math.Log(both.joules / both.low))
		}
		c.WattsMean = ratio(both.idle+both.joules, both.hours*3600)
	}
	price, joules := text.all()
	finished := float64(m.window.completed - m.window.images)
	if text.hours > 0 {
		c.PricePerRequest, c.JoulesPerRequest = price.over(finished), joules.over(finished)
		c.PricePerMillionTokens, c.JoulesPerToken = price.over(float64(tokens)/1e6), joules.over(float64(tokens))
	}
	if images.hours > 0 {
		price, joules = images.all()
		c.PricePerImage, c.JoulesPerImage = price.over(float64(m.window.images)), joules.over(float64(m.window.images))
	}
}

// over returns the figure shared by n, none if there is nobody to share it.
func (x Number) over(n float64) Number { return ratio(float64(x), n) }

// noCost is that of devices of which nothing is known.
func noCost() Cost {
	return Cost{
		GPUHours: None, GPUHoursBusy: None, Price: None, EnergyJ: None, IdleJ: None,
		EnergyBand: None, EnergyLowJ: None, EnergyHighJ: None, WattsMean: None,
		PricePerRequest: None, PricePerMillionTokens: None, JoulesPerRequest: None, JoulesPerToken: None, PricePerImage: None, JoulesPerImage: None,
	}
}

// cost adds what the run took in one line, if anything is known of it.
func (v *screen) cost(r *Result) {
	c := &r.Cost
	if !(c.GPUHours > 0) { // not known, or from a file that is older than this figure
		return
	}
	text := figure(c.GPUHours) + " GPU-hours"
	if c.Price.Exists() {
		text += " at " + figure(c.Price) + each(c.PricePerRequest, "a request") + each(c.PricePerMillionTokens, "a million output tokens") + each(c.PricePerImage, "an image")
	}
	if c.EnergyJ.Exists() {
		text += "; " + joules(c.EnergyJ) + eachJoules(c.JoulesPerRequest, "a request") + eachJoules(c.JoulesPerToken, "an output token") + eachJoules(c.JoulesPerImage, "an image")
		if c.EnergyDerived {
			text += " (derived)"
		}
	}
	v.line("cost", "%s", text)
}

func each(x Number, what string) string {
	if !x.Exists() {
		return ""
	}
	return ", " + figure(x) + " " + what
}

func eachJoules(x Number, what string) string {
	if !x.Exists() {
		return ""
	}
	return ", " + joules(x) + " " + what
}

// joules writes an energy.
func joules(x Number) string {
	switch {
	case x >= 1e9:
		return figure(x/1e9) + " GJ"
	case x >= 1e6:
		return figure(x/1e6) + " MJ"
	case x >= 1e3:
		return figure(x/1e3) + " kJ"
	}
	return figure(x) + " J"
}
