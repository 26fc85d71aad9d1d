package net

// Gradient is a layer's gradients in a training step.
type Gradient struct {
	Params int64 // numbers, one for each parameter of the layer
	After  int   // operators of the backward pass that have run once they are complete
}

// Gradients returns the gradients in the order in which the backward pass of [Net.Passes]
// completes them, which is that in which data-parallel devices exchange them.
func (n *Net) Gradients() []Gradient {
	var out []Gradient
	l := &list{batch: 1, training: true}
	for i := len(n.layers) - 1; i >= 0; i-- {
		n.layers[i].backward(l)
		if p := n.layers[i].params(); p > 0 {
			out = append(out, Gradient{p, len(l.ops)})
		}
	}
	return out
}
