package quality

import (
	"math"
	"math/rand/v2"
)

// Classifier is a softmax classifier: linear in the features (Hidden 0), or with a layer of
// so many rectified units between. Its loss is the cross-entropy in nats plus Decay/2
// times the squared length of its weights, biases among them.
type Classifier struct {
	In, Hidden, Classes int
	Decay               float64
}

// For returns the classifier of that many hidden units for a table.
func For(d *Dataset, hidden int) Classifier {
	return Classifier{In: len(d.Features), Hidden: hidden, Classes: len(d.Classes)}
}

// layers returns where the output layer begins among the weights, and how many inputs it
// has. A layer lies as inputs x outputs, by rows, and then its biases.
func (c Classifier) layers() (second, width int) {
	if c.Hidden == 0 {
		return 0, c.In
	}
	return (c.In + 1) * c.Hidden, c.Hidden
}

// Weights returns how many weights there are.
func (c Classifier) Weights() int {
	second, width := c.layers()
	return second + (width+1)*c.Classes
}

// Init returns weights to start from: zeros if linear, else those of He and others (2015),
// normal with variance 2/inputs in the hidden layer, and with variance 1/inputs in the
// output layer. Biases are 0.
func (c Classifier) Init(draws *rand.Rand) []float64 {
	w := make([]float64, c.Weights())
	if c.Hidden == 0 {
		return w
	}
	second, width := c.layers()
	fill := func(w []float64, variance float64) {
		for i := range w {
			w[i] = math.Sqrt(variance) * draws.NormFloat64()
		}
	}
	fill(w[:c.In*c.Hidden], 2/float64(c.In))
	fill(w[second:second+width*c.Classes], 1/float64(width))
	return w
}

// scratch is what passes through a classifier work in: one per goroutine.
type scratch struct {
	Classifier
	hidden, back, out []float64
}

func (c Classifier) scratch() *scratch {
	return &scratch{c, make([]float64, c.Hidden), make([]float64, c.Hidden), make([]float64, c.Classes)}
}

// Gradient sets grad to the mean gradient over the samples at rows and returns their mean
// loss, both with decay.
func (c *scratch) Gradient(w, grad []float64, d *Dataset, rows []int) (loss float64) {
	clear(grad)
	share := 1 / float64(len(rows))
	for _, i := range rows {
		x, y := d.Row(i), d.Y[i]
		loss += c.forward(w, x, y) * share
		c.backward(w, grad, x, y, share)
	}
	if c.Decay == 0 {
		return loss
	}
	square := 0.0
	for i, v := range w {
		square += v * v
		grad[i] += float64(c.Decay * v)
	}
	return loss + c.Decay/2*square
}

// Evaluate returns the mean loss over a table, with decay, and the share of samples whose
// likeliest class is another one.
func (c *scratch) Evaluate(w []float64, d *Dataset) (loss, wrong float64) {
	n := float64(d.Len())
	for i := range d.Len() {
		loss += c.forward(w, d.Row(i), d.Y[i]) / n
		best := 0
		for k, p := range c.out {
			if p > c.out[best] {
				best = k
			}
		}
		if best != d.Y[i] {
			wrong += 1 / n
		}
	}
	square := 0.0
	for _, v := range w {
		square += v * v
	}
	return loss + c.Decay/2*square, wrong
}

// forward leaves the hidden units and the probabilities of classes in c, and returns the
// cross-entropy of class y.
func (c *scratch) forward(w, x []float64, y int) float64 {
	second, width := c.layers()
	if c.Hidden > 0 {
		through(c.hidden, w, x)
		for k, h := range c.hidden {
			c.hidden[k] = max(h, 0)
		}
		x = c.hidden
	}
	through(c.out, w[second:second+(width+1)*c.Classes], x)
	top := c.out[0]
	for _, o := range c.out {
		top = max(top, o)
	}
	logit, sum := c.out[y]-top, 0.0
	for k, o := range c.out {
		c.out[k] = math.Exp(o - top)
		sum += c.out[k]
	}
	for k := range c.out {
		c.out[k] /= sum
	}
	return math.Log(sum) - logit
}

// through sets out to the bias plus x times the rows of a layer.
func through(out, layer, x []float64) {
	n := len(out)
	copy(out, layer[len(x)*n:])
	for j, v := range x {
		if v == 0 {
			continue
		}
		row := layer[j*n : (j+1)*n]
		for k := range out {
			// The conversion forbids a fused multiply-add: all processors agree.
			out[k] += float64(v * row[k])
		}
	}
}

// backward adds to grad that of one sample, whose forward pass lies in c.
func (c *scratch) backward(w, grad, x []float64, y int, share float64) {
	second, _ := c.layers()
	for k := range c.out {
		c.out[k] *= share
	}
	c.out[y] -= share
	if c.Hidden == 0 {
		outer(grad, x, c.out)
		return
	}
	outer(grad[second:], c.hidden, c.out)
	n := c.Classes
	for j, h := range c.hidden {
		c.back[j] = 0
		if h == 0 {
			continue // the rectifier lets nothing back
		}
		row := w[second+j*n : second+(j+1)*n]
		sum := 0.0
		for k, e := range c.out {
			sum += float64(e * row[k])
		}
		c.back[j] = sum
	}
	outer(grad, x, c.back)
}

// outer adds to the gradient of a layer: its input times the error of its output.
func outer(grad, x, e []float64) {
	n := len(e)
	for j, v := range x {
		if v == 0 {
			continue
		}
		row := grad[j*n : (j+1)*n]
		for k := range e {
			row[k] += float64(v * e[k])
		}
	}
	bias := grad[len(x)*n : (len(x)+1)*n]
	for k := range e {
		bias[k] += e[k]
	}
}
