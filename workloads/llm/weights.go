package llm

// Params returns the number of parameters, as a checkpoint counts them.
func (m *Model) Params() int64 {
	return m.layerParams(1, m.Experts)*int64(m.Layers) + m.embeddings(int64(m.Vocab)) + m.normParams()
}

// ActiveParams returns the number of parameters that compute one token: all but
// the experts that a token does not use.
func (m *Model) ActiveParams() int64 {
	return m.layerParams(1, m.ExpertsPerToken)*int64(m.Layers) + m.embeddings(int64(m.Vocab)) + m.normParams()
}

// embeddings returns the parameters of the embedding and the LM head over the
// given number of words.
func (m *Model) embeddings(words int64) int64 {
	if m.TiedEmbedding {
		return words * int64(m.Hidden)
	}
	return 2 * words * int64(m.Hidden)
}

// Weights returns the bytes of weights on each device of a pipeline stage.
// Matrices are split over the tensor-parallel group; norms, routers and the biases
// of row-parallel projections are held by each device, as are key/value heads
// where there are fewer of them than devices. The first stage has the embedding,
// the last the final norm and the LM head; if these two are tied, a copy each once
// they are on different stages.
func (m *Model) Weights(p Parallel, stage int) int64 {
	n := m.layerParams(p.Tensor, m.Experts) * int64(m.StageLayers(p.Pipeline, stage))
	first, last := stage == 0, stage == p.Pipeline-1
	table := m.vocabPerDevice(p.Tensor) * int64(m.Hidden)
	if first {
		n += table
	}
	if last && !(first && m.TiedEmbedding) {
		n += table
	}
	if last {
		n += m.normParams()
	}
	return n*int64(m.WeightBytes) - m.packed(p, stage)
}

// packed returns the bytes that experts of fewer bits save on a device of a stage.
func (m *Model) packed(p Parallel, stage int) int64 {
	if m.ExpertBits == 0 {
		return 0
	}
	weights := (m.layerParams(p.Tensor, m.Experts) - m.layerParams(p.Tensor, 0)) * int64(m.StageLayers(p.Pipeline, stage))
	return int64(float64(weights) * (float64(m.WeightBytes) - m.ExpertBits/8))
}

// vocabPerDevice returns the rows of embedding and LM head that each device of a
// tensor-parallel group keeps. Engines pad the vocabulary to a multiple of 64 so
// that it can be split (vLLM, DEFAULT_VOCAB_PADDING_SIZE).
func (m *Model) vocabPerDevice(tensor int) int64 {
	const padding = 64
	padded := (int64(m.Vocab) + padding - 1) / padding * padding
	return (padded + int64(tensor) - 1) / int64(tensor)
}

// layerParams returns the parameters of one layer on each device of a
// tensor-parallel group, with the given number of experts.
func (m *Model) layerParams(tensor, experts int) int64 {
	var (
		t     = int64(tensor)
		h     = int64(m.Hidden)
		query = int64(m.QueryWidth()) / t
		kv    = int64(m.KVHeadsPerDevice(tensor) * m.HeadDim)
		inner = int64(m.Intermediate) / t
	)
	n := h*(query+2*kv) + query*h + int64(m.NormsPerLayer)*m.normParams()
	if m.QKVBias {
		n += query + 2*kv
	}
	if m.OutBias {
		n += h
	}
	if m.QKNorm {
		n += 2 * int64(m.HeadDim)
	}
	into := int64(1) // projections into the MLP: up, and gate
	if m.Gated {
		into = 2
	}
	if m.MLPBias {
		n += into*inner + h
	}
	mlp := (into + 1) * h * inner
	if m.Experts == 0 {
		return n + mlp
	}
	n += int64(experts)*mlp + h*int64(m.Experts) // experts and router
	if m.SharedExpertSize > 0 {
		n += (into+1)*h*int64(m.SharedExpertSize)/t + h // and the gate of its output
	}
	return n
}

// normParams returns the parameters of one norm over the residual stream.
func (m *Model) normParams() int64 {
	if m.NormBias {
		return 2 * int64(m.Hidden)
	}
	return int64(m.Hidden)
}
