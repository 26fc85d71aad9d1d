package infer

import "math"

// reference is the model in the plainest form: float64, one sequence, no cache, no
// batch, no pages. It computes every token anew each time.
type reference struct{ m *Model }

// logits returns the logits after the last of the tokens.
func (r reference) logits(tokens []int32) []float64 {
	c := r.m.cfg
	x := make([][]float64, len(tokens))
	for i, t := range tokens {
		x[i] = wide(r.m.embed[int(t)*c.Hidden : (int(t)+1)*c.Hidden])
	}
	for i := range r.m.layers {
		r.layer(&r.m.layers[i], x)
	}
	return times(r.m.embed, normed(x[len(x)-1], r.m.norm))
}

func (r reference) layer(l *layer, x [][]float64) {
	c := r.m.cfg
	d, group := c.HeadDim, c.Heads/c.KVHeads
	keys, values := make([][]float64, len(x)), make([][]float64, len(x))
	for pos := range x {
		qkv := times(l.qkv, normed(x[pos], l.attentionNorm))
		keys[pos], values[pos] = qkv[c.queryWidth():c.queryWidth()+c.kvWidth()], qkv[c.queryWidth()+c.kvWidth():]
		for h := range c.KVHeads {
			rotate(keys[pos][h*d:(h+1)*d], pos)
		}
		attended := make([]float64, c.queryWidth())
		for h := range c.Heads {
			q, kv := qkv[h*d:(h+1)*d], h/group
			rotate(q, pos)
			weights := make([]float64, pos+1)
			var sum float64
			for j := range weights {
				var score float64
				for i := range d {
					score += q[i] * keys[j][kv*d+i]
				}
				weights[j] = math.Exp(score / math.Sqrt(float64(d)))
				sum += weights[j]
			}
			for j, w := range weights {
				for i := range d {
					attended[h*d+i] += w / sum * values[j][kv*d+i]
				}
			}
		}
		add(x[pos], times(l.out, attended))
	}
	for pos := range x {
		gateUp := times(l.gateUp, normed(x[pos], l.mlpNorm))
		gate, up := gateUp[:c.Intermediate], gateUp[c.Intermediate:]
		for i, g := range gate {
			up[i] *= g / (1 + math.Exp(-g))
		}
		add(x[pos], times(l.down, up))
	}
}

// times returns w x for the rows of w.
func times(w []float32, x []float64) []float64 {
	y := make([]float64, len(w)/len(x))
	for i := range y {
		for j, v := range x {
			y[i] += float64(w[i*len(x)+j]) * v
		}
	}
	return y
}

func normed(x []float64, gain []float32) []float64 {
	var squares float64
	for _, v := range x {
		squares += v * v
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = v / math.Sqrt(squares/float64(len(x))+1e-5) * float64(gain[i])
	}
	return y
}

func rotate(x []float64, pos int) {
	half := len(x) / 2
	for i := range half {
		sin, cos := math.Sincos(float64(pos) * math.Pow(10000, -float64(2*i)/float64(len(x))))
		x[i], x[i+half] = x[i]*cos-x[i+half]*sin, x[i+half]*cos+x[i]*sin
	}
}

func add(x, y []float64) {
	for i := range x {
		x[i] += y[i]
	}
}

func wide(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}
