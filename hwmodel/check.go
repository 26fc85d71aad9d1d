package hwmodel

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// checker keeps the first thing found wrong with a set of constants.
type checker struct{ err error }

func (c *checker) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func (c *checker) positive(name string, v float64) {
	if !(v > 0) || math.IsInf(v, 0) {
		c.fail("%s is %g, must be above 0", name, v)
	}
}

func (c *checker) time(name string, v float64) {
	if !(v >= 0) || math.IsInf(v, 0) {
		c.fail("%s is %g, must be 0 or more", name, v)
	}
}

func (c *checker) share(name string, v float64) {
	if !(v > 0 && v <= 1) {
		c.fail("%s is %g, must be above 0 and at most 1: nothing beats the device's peak", name, v)
	}
}

func (c *checker) within(name string, v, low, high float64) {
	if !(v >= low && v <= high) {
		c.fail("%s is %g, must lie between %g and %g", name, v, low, high)
	}
}

func (c *checker) collective(name string, q *Collective, d *Device) {
	if q.Devices < 2 {
		c.fail("%s.devices is %d, must be 2 or more", name, q.Devices)
	}
	if q.Collective == "" || q.Link == "" {
		c.fail("%s needs a collective and a link", name)
	}
	c.time(name+".host", q.Host)
	c.time(name+".latency", q.Latency)
	c.time(name+".setup", q.Setup)
	c.positive(name+".quick_bytes", q.Quick)
	c.positive(name+".bulk_bytes", q.Bulk)
	if v := max(q.Quick, q.Bulk); q.Devices >= 2 && v > 1.001*q.peak(d) {
		c.fail("%s moves %g bytes of message per second, above the %g that the device's links allow", name, v, q.peak(d))
	}
	if err := q.Residual.check(name + ".residual"); err != nil {
		c.fail("%v", err)
	}
}

func (c *checker) send(name string, s *Send) {
	c.time(name+".latency", s.Latency)
	c.positive(name+".bytes_per_second", s.Rate)
}

func (c *checker) prefill(name string, k *PrefillKernel) {
	c.time(name+".launch", k.Launch)
	c.share(name+".compute", k.Compute)
	c.share(name+".bandwidth", k.Bandwidth)
	c.within(name+".own", k.Own, 1, 8)
	c.within(name+".rows", k.Rows, 1, 1024)
	c.within(name+".span", k.Span, 1, 1024)
	c.within(name+".alone", k.Alone, 0.01, 100)
	c.time(name+".block", k.Block)
	c.within(name+".tail", k.Tail, 0, 4)
	c.within(name+".wave", k.Wave, 0, 1)
	c.time(name+".store", k.Store)
	c.within(name+".reach", k.Reach, 0, 4)
	c.residual(name+".residual", k.Residual, prefillAxes)
}

func (c *checker) decode(name string, k *DecodeKernel) {
	c.time(name+".launch", k.Launch)
	c.time(name+".copy", k.Copy)
	c.time(name+".most", k.Most)
	c.share(name+".bandwidth", k.Bandwidth)
	c.within(name+".reach", k.Reach, 0, 4)
	c.positive(name+".stream", k.Stream)
	c.time(name+".block", k.Block)
	c.time(name+".parts", k.Parts)
	c.positive(name+".span", k.Span)
	c.time(name+".combine", k.Combine)
	c.within(name+".rows", k.Rows, 0, 1024)
	if k.Rows > 0 {
		c.share(name+".compute", k.Compute)
	}
	c.residual(name+".residual", k.Residual, decodeAxes)
}

func (c *checker) mixed(name string, k *MixedKernel) {
	c.prefill(name, &k.PrefillKernel)
	c.residual(name+".decodes", k.Decodes, mixedAxes)
}

// residual refuses a correction that does not hold together or runs over anything but
// axes.
func (c *checker) residual(name string, r *Residual, axes []string) {
	if r == nil {
		return
	}
	for i := range r.Axes {
		if n := r.Axes[i].Name; !slices.Contains(axes, n) || slices.IndexFunc(r.Axes, func(a Axis) bool { return a.Name == n }) != i {
			c.fail("%s has axis %q, must have any of %s once", name, n, strings.Join(axes, ", "))
		}
	}
	if err := r.check(name); err != nil && c.err == nil {
		c.err = err
	}
}
