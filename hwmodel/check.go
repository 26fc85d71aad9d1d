package hwmodel

import (
	"fmt"
	"math"
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

func (c *checker) attention(name string, a *Attention) {
	p := &a.Prefill
	c.time(name+".prefill.launch", p.Launch)
	c.share(name+".prefill.compute", p.Compute)
	c.share(name+".prefill.bandwidth", p.Bandwidth)
	c.within(name+".prefill.own", p.Own, 1, 8)
	c.within(name+".prefill.rows", p.Rows, 1, 1024)
	c.within(name+".prefill.resident", p.Resident, 1, 32)
	c.within(name+".prefill.wave", p.Wave, 0, 1)
	c.share(name+".prefill.fill", p.Fill)
	c.decode(name+".decode", &a.Decode)
	if a.MHADecode != nil {
		c.decode(name+".mha_decode", a.MHADecode)
	}
}

func (c *checker) decode(name string, k *DecodeKernel) {
	c.time(name+".launch", k.Launch)
	c.share(name+".bandwidth", k.Bandwidth)
	c.time(name+".tail", k.Tail)
	c.time(name+".block", k.Block)
	c.within(name+".rows", k.Rows, 0, 1024)
	if k.Rows > 0 {
		c.share(name+".compute", k.Compute)
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
