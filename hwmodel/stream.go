package hwmodel

import (
	"strings"
)

// Stream holds the fitted constants of a kernel that does little but move data: an
// activation, an addition, a norm, a softmax. Traffic that fits the L2 cache from one
// call to the next runs at a share of its bandwidth, the rest at a share of that of
// DRAM, with a smooth change between.
type Stream struct {
	// Function names the kernel, such as gelu or rmsnorm. Without a name the constants
	// stand for all functions of their kind.
	Function string `toml:"function"`
	Rows     bool   `toml:"along_rows,omitempty"` // a kernel that reduces along rows: norms and softmax
	Key

	Host    float64 `toml:"host"`             // seconds from one call to the next, however short the kernel: launching hides behind the kernel before
	Further float64 `toml:"further,omitzero"` // seconds of host time for each further kernel of a function made of several
	Launch  float64 `toml:"launch"`           // seconds, start and end of the kernel
	Ramp    float64 `toml:"ramp"`             // seconds until DRAM streams at full rate, and to drain it
	DRAM    float64 `toml:"dram"`             // share of DRAM bandwidth
	L2      float64 `toml:"l2"`               // share of L2 bandwidth
	Reach   float64 `toml:"reach"`            // working set, as a multiple of the L2's size, of which half the traffic goes to DRAM
	Walk    float64 `toml:"walk,omitzero"`    // seconds a block takes for each element of its row besides moving it
	Block   float64 `toml:"block,omitzero"`   // seconds an SM takes to begin with a row
	Rereads float64 `toml:"rereads,omitzero"` // times a row is read again, from L2 if the rows under way fit
	Wide    int     `toml:"wide,omitzero"`    // columns up to which a row stays in registers and is not read again
	Blocks  float64 `toml:"blocks,omitzero"`  // rows under way on an SM

	Residual *Residual `toml:"residual,omitempty"` // over rows and columns
	Fit      `toml:"fit"`
}

// Pass is one call of a data-moving kernel.
type Pass struct {
	Bytes      float64 // read and written, each operand once
	Rows, Cols float64 // of a kernel that gives each row to a block, else 0
	Width      float64 // bytes of an element read
	Kernels    int     // that the call launches, 0 counts as 1
}

// RowPass returns the call of a kernel that reads and writes a matrix of 16-bit
// elements once and reduces along its rows.
func RowPass(rows, cols int) Pass {
	r, c := float64(rows), float64(cols)
	return Pass{Bytes: 4 * r * c, Rows: r, Cols: c, Width: 2}
}

// Time returns the seconds of one call on d, never less than physics allows.
func (s *Stream) Time(d *Device, c Pass) float64 {
	miss := s.miss(d, c.Bytes)
	dram, l2 := d.DRAMBytes*s.DRAM, d.L2Bytes*s.L2
	t := s.Launch + float64(s.Ramp*miss) + c.Bytes*(miss/dram+(1-miss)/l2)
	t += float64(s.Walk*c.Cols) + float64(s.Block*c.Rows)/float64(d.SMs)
	if s.Rows {
		if again := s.Rereads * c.Rows * c.Cols * c.Width; again > 0 && c.Cols > float64(s.Wide) {
			under := min(c.Rows, float64(d.SMs)*s.Blocks) * c.Cols * c.Width
			miss = s.miss(d, under) * miss
			t += again * (miss/dram + (1-miss)/l2)
		}
		if s.Residual != nil {
			t *= s.Residual.At(c.Rows, c.Cols)
		}
	}
	host := s.Host
	if c.Kernels > 1 {
		host += s.Further * float64(c.Kernels-1)
	}
	return max(Overlap(host, t, 4), PassFloor(d, c))
}

// miss returns the share of traffic that goes to DRAM while a working set is passed
// over again and again. Eighth powers make the step as steep as measured: from a tenth
// to nine tenths within a factor of 1.7.
func (s *Stream) miss(d *Device, bytes float64) float64 {
	v := bytes / (s.Reach * float64(d.L2Size))
	v *= v
	v *= v
	v *= v
	return v / (1 + v)
}

// PassFloor returns the seconds that physics asks at least: what L2 cannot hold goes
// over the DRAM bus, and everything through L2.
func PassFloor(d *Device, c Pass) float64 {
	return max(c.Bytes/d.L2Bytes, (c.Bytes-float64(d.L2Size))/d.DRAMBytes, 0)
}

// Estimate returns the time of one call with its doubt.
func (s *Stream) Estimate(d *Device, c Pass) Estimate {
	return Estimate{Seconds: s.Time(d, c), Band: s.Band, Derived: s.Derived}
}

// Stream returns the constants that serve function by engine with elements of dtype
// best. They are those of the function itself where there are any, then those for all
// functions of its kind, then those of the function by other engines.
func (p *Profile) Stream(engine, dtype, function string) (s *Stream, exact bool) {
	rows := AlongRows(function)
	best, index := 0, -1
	for i := range p.Streams {
		q := &p.Streams[i]
		match := q.Match(engine, dtype)
		if match == 0 || q.Rows != rows {
			continue
		}
		score := 0
		switch {
		case q.Function == function:
			score = 2
		case q.Function == "":
			score = 1
		}
		// The engine says more of a call's overhead than the function does.
		if q.Engine == engine {
			score += 4
		}
		if score = 8*score + match; score > best {
			best, index = score, i
		}
	}
	if index < 0 {
		return nil, false
	}
	s = &p.Streams[index]
	return s, s.Engine == engine && (s.Function == function || s.Function == "")
}

// AlongRows tells whether function reduces along the rows of a matrix.
func AlongRows(function string) bool {
	return strings.HasSuffix(function, "norm") || strings.HasSuffix(function, "softmax")
}

func (c *checker) stream(name string, s *Stream) {
	c.time(name+".host", s.Host)
	c.time(name+".further", s.Further)
	c.time(name+".launch", s.Launch)
	c.time(name+".ramp", s.Ramp)
	c.time(name+".walk", s.Walk)
	c.time(name+".block", s.Block)
	c.share(name+".dram", s.DRAM)
	c.share(name+".l2", s.L2)
	c.within(name+".reach", s.Reach, 0.05, 4)
	c.within(name+".rereads", s.Rereads, 0, 4)
	if s.Rereads > 0 {
		c.within(name+".blocks", s.Blocks, 1, 64)
	}
	if s.Host+s.Launch <= 0 {
		c.fail("%s takes no time: host and launch are 0", name)
	}
	if err := s.Residual.check(name + ".residual"); err != nil {
		c.fail("%v", err)
	}
}
