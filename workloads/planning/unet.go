package planning

import "orrery/workloads/diffusion"

// temporalUNet is the network of Diffuser, Decision Diffuser and the refiner of Trajectory
// Diffuser (jannerm/diffuser, models/temporal.py): convolutions along time, two residual
// blocks a level on the way down and on the way up.
type temporalUNet struct {
	width   int   // channels of the first level
	levels  []int // times which every level has
	kernel  int
	returns bool // it is told the return wanted (classifier-free guidance)
}

// graph is one call on n trajectories of so many steps, each with so many numbers.
func (u *temporalUNet) graph(name string, n, numbers, horizon int) *diffusion.Graph {
	m := newModule(name)
	x := m.input("trajectory", n, numbers, horizon)
	time := m.time(n, u.width)
	if u.returns {
		r := m.input("return", n, 1, 1)
		m.Scope("returns", func() {
			r = m.linear("linear1", r, u.width)
			r = m.linear("linear2", m.elementwise("mish", r), u.width)
		})
		time = m.join("condition", time, r)
	}
	var skips []diffusion.TensorID
	for i, times := range u.levels {
		x = m.residual("down", x, time, times*u.width, u.kernel)
		x = m.residual("down", x, time, times*u.width, u.kernel)
		skips = append(skips, x)
		if i < len(u.levels)-1 {
			x = m.conv("downsample", x, times*u.width, 3, 2)
		}
	}
	for range 2 {
		x = m.residual("middle", x, time, m.Shape(x).C, u.kernel)
	}
	for i := len(u.levels) - 1; i > 0; i-- {
		out := u.levels[i-1] * u.width
		// Where a level had an odd length, the sequence is cut to it.
		x = m.join("skip", x, skips[i])
		x = m.residual("up", x, time, out, u.kernel)
		x = m.residual("up", x, time, out, u.kernel)
		x = m.convUp("upsample", x, 4)
	}
	x = m.convBlock("final", x, u.width, u.kernel)
	return m.Done(m.conv("final", x, numbers, 1, 1))
}

// time embeds the denoising step: a sinusoid, then two layers.
func (m module) time(n, width int) diffusion.TensorID {
	x := m.input("step", n, width, 1)
	m.Scope("time", func() {
		x = m.each(x, "frequencies", "outer", "sin", "cos")
		x = m.elementwise("cat", x)
		x = m.linear("linear1", x, 4*width)
		x = m.linear("linear2", m.elementwise("mish", x), width)
	})
	return x
}

// convBlock is convolution, norm and activation.
func (m module) convBlock(name string, x diffusion.TensorID, out, kernel int) diffusion.TensorID {
	m.Scope(name, func() {
		x = m.conv("conv", x, out, kernel, 1)
		x = m.GroupNorm("norm", x, 8)
		x = m.elementwise("mish", x)
	})
	return x
}

// residual is two such blocks with the embedding of the step between, and the input added,
// by way of a convolution of one where the channels change.
func (m module) residual(name string, x, time diffusion.TensorID, out, kernel int) diffusion.TensorID {
	m.Scope(name, func() {
		h := m.convBlock("block1", x, out, kernel)
		e := m.linear("time", m.elementwise("mish", time), out)
		h = m.elementwise("add_time", h, e)
		h = m.convBlock("block2", h, out, kernel)
		if m.Shape(x).C != out {
			x = m.conv("shortcut", x, out, 1, 1)
		}
		x = m.elementwise("add", h, x)
	})
	return x
}

// valueNet is the network by which Diffuser guides: the way down of a UNet of three levels,
// two blocks that narrow it, and two layers. The sum over the batch, of which the gradient
// is taken, belongs to it.
func valueNet(n, numbers, horizon, width int, levels []int, kernel int) *diffusion.Graph {
	m := newModule("value")
	x := m.input("trajectory", n, numbers, horizon)
	time := m.time(n, width)
	for _, times := range levels {
		x = m.residual("down", x, time, times*width, kernel)
		x = m.residual("down", x, time, times*width, kernel)
		x = m.conv("downsample", x, times*width, 3, 2)
	}
	for range 2 {
		x = m.residual("middle", x, time, m.Shape(x).C/2, kernel)
		x = m.conv("downsample", x, m.Shape(x).C, 3, 2)
	}
	t := m.Shape(x)
	x = m.join("cat", m.shapeFree(x, n, t.C*t.W), time)
	x = m.linear("head1", x, m.Shape(x).C/2)
	x = m.linear("head2", m.elementwise("mish", x), 1)
	return m.Done(m.elementwise("sum", x))
}

// shapeFree gives x another shape, which costs nothing.
func (m module) shapeFree(x diffusion.TensorID, n, c int) diffusion.TensorID {
	return m.Add(diffusion.Op{Name: "view", Kind: diffusion.Elementwise, What: "view", Kernels: -1, Moved: 1}, n, c, 1, 1, x)
}
