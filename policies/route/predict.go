package route

import "orrery/workloads"

// Predictor guesses how long answers will be.
type Predictor interface {
	// Answer returns the predicted length of the answer to r, in tokens, at least 1.
	Answer(r *workloads.Request) int32
	// Learn tells of a request that has finished.
	Learn(d Done)
}

// Done is what becomes known of a request that has finished.
type Done struct {
	Tenant int32
	Tier   int32
	Prompt int32 // tokens
	Answer int32 // tokens
}

// MeanAnswer predicts the mean of the answers seen so far, and before the first of them
// an answer as long as the prompt. The zero value is ready to use.
type MeanAnswer struct{ n, sum int64 }

// Answer implements [Predictor].
func (m *MeanAnswer) Answer(r *workloads.Request) int32 {
	if m.n == 0 {
		return max(1, r.Prompt)
	}
	return int32((m.sum + m.n/2) / m.n)
}

// Learn implements [Predictor].
func (m *MeanAnswer) Learn(d Done) {
	m.n++
	m.sum += int64(d.Answer)
}

// MeanByClient predicts the mean of the answers seen so far for the same tenant and
// service class; as long as there are few of them, that of all. The zero value is ready
// to use.
type MeanByClient struct {
	all     MeanAnswer
	clients map[[2]int32]*MeanAnswer // by tenant and tier
}

// fewAnswers are too few for a mean of their own: with exponential lengths its standard
// error is a quarter.
const fewAnswers = 16

// Answer implements [Predictor].
func (m *MeanByClient) Answer(r *workloads.Request) int32 {
	if own := m.clients[[2]int32{r.Tenant, r.Tier}]; own != nil && own.n >= fewAnswers {
		return own.Answer(r)
	}
	return m.all.Answer(r)
}

// Learn implements [Predictor].
func (m *MeanByClient) Learn(d Done) {
	m.all.Learn(d)
	if m.clients == nil {
		m.clients = map[[2]int32]*MeanAnswer{}
	}
	key := [2]int32{d.Tenant, d.Tier}
	own := m.clients[key]
	if own == nil {
		own = &MeanAnswer{}
		m.clients[key] = own
	}
	own.Learn(d)
}

// Oracle knows the answer's true length, which no real router does: what is gained with
// it bounds what a better predictor could gain.
type Oracle struct{}

// Answer implements [Predictor].
func (Oracle) Answer(r *workloads.Request) int32 { return r.Output }

// Learn implements [Predictor].
func (Oracle) Learn(Done) {}
