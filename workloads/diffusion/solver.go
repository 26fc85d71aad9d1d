package diffusion

import "fmt"

// What a sampler does to the latent between calls of the network is small, and yet a
// kernel each in an eager framework: it is written around the network's graph.

// solve completes every step with the sampler's arithmetic, and joins equal stages that
// follow one another.
func (j *Job) solve(stages []Stage, steps []SolverStep) []Stage {
	type key struct {
		graph *Graph
		step  solverKey
	}
	done := map[key]*Graph{}
	out := make([]Stage, 0, len(stages))
	seen := map[int]int{} // evaluations of a step so far
	for _, s := range stages {
		if s.Phase == Denoise && s.Step < len(steps) {
			step := &steps[s.Step]
			seen[s.Step] += s.Times
			k := key{s.Graph, solverKey{s.Passes, step.Order, step.Corrector && seen[s.Step] == 1, stored(steps)}}
			if done[k] == nil {
				done[k] = j.around(k.graph, k.step)
			}
			s.Graph = done[k]
		}
		out = join(out, s)
	}
	return out
}

// join appends a stage, to the last one if that does the same.
func join(list []Stage, s Stage) []Stage {
	if n := len(list); n > 0 {
		last := &list[n-1]
		if last.Graph == s.Graph && last.Name == s.Name && last.DType == s.DType {
			last.Times += s.Times
			return list
		}
	}
	return append(list, s)
}

// solverKey is all that the arithmetic of a step depends on.
type solverKey struct {
	passes    int
	order     int
	corrector bool
	stored    int // answers of earlier steps that are kept
}

// stored returns how many answers of the network a sampler keeps from step to step.
func stored(steps []SolverStep) int {
	most := 0
	for i := range steps {
		// A step that evaluates the network several times stores nothing between steps.
		if steps[i].Evaluations <= 1 {
			most = max(most, steps[i].Order-1)
		}
	}
	return most
}

// around returns net with what comes before and after it in a step: the latent is doubled
// for guidance and joined with an image's, and the answer is combined with stored ones.
func (j *Job) around(net *Graph, k solverKey) *Graph {
	shape := net.Tensors[net.Inputs[0]]
	shape.N /= k.passes
	shape.C -= j.Pipeline.Concat
	b := &stepWriter{Graph: Graph{Name: net.Name, Weights: net.Weights}}
	latent := b.input("latent", shape)
	kept := make([]TensorID, k.stored)
	for i := range kept {
		kept[i] = b.input(fmt.Sprintf("stored%d", i), shape)
	}
	x := b.prepare(net, latent, shape, j.Pipeline.Concat, k.passes)
	answers := b.network(net, x)
	answer := answers[0]
	if k.passes == 2 {
		answer = b.guide(answer, shape)
	}
	b.update(latent, answer, kept[:min(k.order-1, len(kept))], shape, k)
	b.Outputs = append(b.Outputs, answers[1:]...) // what is kept for later steps
	return b.done()
}

// stepWriter writes the graph of a whole step.
type stepWriter struct{ Graph }

func (b *stepWriter) tensor(name string, like Tensor) TensorID {
	like.Name = name
	b.Tensors = append(b.Tensors, like)
	return TensorID(len(b.Tensors) - 1)
}

func (b *stepWriter) input(name string, like Tensor) TensorID {
	id := b.tensor(name, like)
	b.Inputs = append(b.Inputs, id)
	return id
}

// op appends an element-wise kernel that writes a tensor of the given shape.
func (b *stepWriter) op(name, what string, like Tensor, reads ...TensorID) TensorID {
	out := b.tensor(name, like)
	b.into(name, what, out, reads...)
	return out
}

// into appends an element-wise kernel that writes out.
func (b *stepWriter) into(name, what string, out TensorID, reads ...TensorID) {
	op := Op{Name: name, Kind: Elementwise, What: what, Reads: reads, Writes: []TensorID{out}, Moved: b.Tensors[out].Bytes(), Kernels: 1}
	for _, r := range reads {
		op.Moved += b.Tensors[r].Bytes()
	}
	b.Ops = append(b.Ops, op)
}

// prepare makes the network's input of the latent, and returns it: the latent itself
// where there is neither guidance nor an image beside it.
func (b *stepWriter) prepare(net *Graph, latent TensorID, shape Tensor, concat, passes int) TensorID {
	x := latent
	if passes == 2 {
		double := shape
		double.N *= 2
		x = b.op("solver/double", "cat", double, x, x)
	}
	if concat > 0 {
		beside := b.Tensors[x]
		beside.C = concat
		image := b.input("image latent", beside)
		x = b.op("solver/image", "cat", net.Tensors[net.Inputs[0]], x, image)
	}
	return x
}

// network appends net, whose first input is x, and returns its outputs, the answer first.
// All other inputs are inputs of the step.
func (b *stepWriter) network(net *Graph, x TensorID) []TensorID {
	at := make([]TensorID, len(net.Tensors))
	at[net.Inputs[0]] = x
	for _, id := range net.Inputs[1:] {
		at[id] = b.input(net.Tensors[id].Name, net.Tensors[id])
	}
	for id := range net.Tensors {
		if !net.takes(TensorID(id)) {
			at[id] = b.tensor(net.Tensors[id].Name, net.Tensors[id])
		}
	}
	for _, op := range net.Ops {
		op.Reads, op.Writes, op.Free = moved(op.Reads, at), moved(op.Writes, at), moved(op.Free, at)
		b.Ops = append(b.Ops, op)
	}
	return moved(net.Outputs, at)
}

// takes says whether a tensor is an input.
func (g *Graph) takes(id TensorID) bool {
	for _, in := range g.Inputs {
		if in == id {
			return true
		}
	}
	return false
}

// moved returns where tensors have gone.
func moved(ids, at []TensorID) []TensorID {
	if ids == nil {
		return nil
	}
	out := make([]TensorID, len(ids))
	for i, id := range ids {
		out[i] = at[id]
	}
	return out
}

// guide combines the two halves of an answer: unconditional + scale (conditional - unconditional).
func (b *stepWriter) guide(answer TensorID, half Tensor) TensorID {
	x := b.op("solver/guide/sub", "sub", half, answer)
	x = b.op("solver/guide/mul", "mul", half, x)
	return b.op("solver/guide/add", "add", half, answer, x)
}

// update writes the new latent as diffusers' schedulers compute it: the answer is made
// into a prediction of the image (three kernels), differences to stored predictions are
// scaled (two each), and the latent and the predictions are summed with their factors
// (one, and two each): 6, 10, 14 and 18 kernels for orders 1 to 4. A corrector does the
// latter two once more, for the step before.
func (b *stepWriter) update(latent, answer TensorID, kept []TensorID, shape Tensor, k solverKey) {
	x := b.op("solver/predict/mul", "mul", shape, answer)
	x = b.op("solver/predict/sub", "sub", shape, latent, x)
	x = b.op("solver/predict/div", "mul", shape, x)
	sum := latent
	if k.corrector {
		sum = b.combine("solver/correct", latent, x, kept, shape)
	}
	sum = b.combine("solver/update", sum, x, kept, shape)
	b.Outputs = []TensorID{sum}
	if k.stored > 0 {
		b.Outputs = append(b.Outputs, x)
	}
}

// combine sums the latent, the new prediction, and its differences to stored ones.
func (b *stepWriter) combine(name string, latent, x TensorID, kept []TensorID, shape Tensor) TensorID {
	sum := b.op(name+"/scale", "mul", shape, latent)
	term := b.op(name+"/mul", "mul", shape, x)
	sum = b.op(name+"/add", "add", shape, sum, term)
	for _, s := range kept {
		term = b.op(name+"/difference", "sub", shape, x, s)
		term = b.op(name+"/difference/scale", "mul", shape, term)
		term = b.op(name+"/mul", "mul", shape, term)
		sum = b.op(name+"/add", "add", shape, sum, term)
	}
	return sum
}

// done frees the tensors that nothing has freed, each with its last use, and returns the
// graph.
func (b *stepWriter) done() *Graph {
	last := make([]int, len(b.Tensors))
	for i := range last {
		last[i] = -1
	}
	for i := range b.Ops {
		for _, ids := range [][]TensorID{b.Ops[i].Reads, b.Ops[i].Writes} {
			for _, id := range ids {
				last[id] = i
			}
		}
	}
	stay := make([]bool, len(b.Tensors)) // or freed already
	for _, ids := range [][]TensorID{b.Inputs, b.Outputs} {
		for _, id := range ids {
			stay[id] = true
		}
	}
	for i := range b.Ops {
		for _, id := range b.Ops[i].Free {
			stay[id] = true
		}
	}
	for id, op := range last {
		if op >= 0 && !stay[id] {
			// Free may be shared with the network's graph: it is copied, not appended to.
			b.Ops[op].Free = append(append([]TensorID(nil), b.Ops[op].Free...), TensorID(id))
		}
	}
	return &b.Graph
}
