package diffusion

// cut returns the part of g that is left to run when some of its tensors are there
// already, kept from an earlier call: what the outputs need beside them. The given
// tensors become inputs, after g's own.
func (g *Graph) cut(given ...TensorID) *Graph {
	there := make([]bool, len(g.Tensors))
	for _, t := range given {
		there[t] = true
	}
	part := &Graph{Name: g.Name, Tensors: g.Tensors, Outputs: g.Outputs}
	part.Inputs = append(append(part.Inputs, g.Inputs...), given...)
	part.keep(g, g.needs(g.Outputs, there), there)
	return part
}

// needs says of each operator whether outputs need it when some tensors are there already.
func (g *Graph) needs(outputs []TensorID, there []bool) []bool {
	needed := make([]bool, len(g.Tensors))
	for _, t := range outputs {
		needed[t] = true
	}
	runs := make([]bool, len(g.Ops))
	for i := len(g.Ops) - 1; i >= 0; i-- {
		for _, t := range g.Ops[i].Writes {
			runs[i] = runs[i] || needed[t] && !there[t]
		}
		if runs[i] {
			for _, t := range g.Ops[i].Reads {
				needed[t] = true
			}
		}
	}
	return runs
}

// keep appends the operators of g that run. What they wrote dies when it did in g, or with
// the last operator that is left before that.
func (part *Graph) keep(g *Graph, runs, there []bool) {
	written := make([]bool, len(g.Tensors))
	for i := range g.Ops {
		op := g.Ops[i]
		if runs[i] {
			op.Free = nil
			for _, t := range op.Writes {
				written[t] = !there[t]
			}
			part.Ops = append(part.Ops, op)
		}
		for _, t := range g.Ops[i].Free {
			if written[t] {
				last := &part.Ops[len(part.Ops)-1]
				last.Free = append(last.Free, t)
			}
		}
	}
	part.Weights = g.weightsOf(part.Params())
}

// weightsOf returns the bytes of so many of g's parameters.
func (g *Graph) weightsOf(params int64) int64 {
	all := g.Params()
	if all == 0 {
		return 0
	}
	return params * (g.Weights / all)
}

// also returns g with some of its tensors kept to the end, as outputs after its own.
func (g *Graph) also(kept ...TensorID) *Graph {
	stays := make([]bool, len(g.Tensors))
	for _, t := range kept {
		stays[t] = true
	}
	for _, t := range g.Inputs {
		stays[t] = false // they stay anyway, as inputs
	}
	out := *g
	out.Outputs = append([]TensorID(nil), g.Outputs...)
	for _, t := range kept {
		if stays[t] {
			out.Outputs = append(out.Outputs, t)
		}
	}
	out.Ops = append([]Op(nil), g.Ops...)
	for i := range out.Ops {
		var free []TensorID
		for _, t := range out.Ops[i].Free {
			if !stays[t] {
				free = append(free, t)
			}
		}
		out.Ops[i].Free = free
	}
	return &out
}
