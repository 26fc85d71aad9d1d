package calibrate

import "orrery/hwmodel"

// decodeBatch returns the batch of n decodes that attend to context tokens each.
func decodeBatch(n int, context float64) *hwmodel.Batch {
	return &hwmodel.Batch{Decodes: n, DecodeContext: int64(float64(n)*context + 0.5), Logits: n}
}

// promptBatch returns the batch of n whole prompts.
func promptBatch(n, tokens int) *hwmodel.Batch {
	var b hwmodel.Batch
	for range n {
		b.AddChunk(tokens, 0)
	}
	b.Logits = n
	return &b
}

// generation returns the seconds of n requests that start together and run to their end: one
// iteration for their prompts, one for each further token.
func generation(p *Iterations, n, prompt, output int) float64 {
	t := p.Time(promptBatch(n, prompt))
	if output > 1 {
		t += float64(output-1) * p.Time(decodeBatch(n, float64(prompt)+float64(output)/2))
	}
	return t
}

// steady describes an engine that a fixed number of clients keep busy, each of which sends
// its next request when it has the answer to the last.
type steady struct {
	clients        int
	prompt, output int  // tokens
	budget         int  // most tokens of an iteration
	apart          bool // prompts have iterations of their own
	together       bool // all clients begin at once
}

// tpot returns the mean seconds between tokens of a request. In the time in which each of D
// decoding sequences gets one token, D/output requests end, and as many prompts are
// computed, each of which adds to the time of the iterations that it shares:
//
//	TPOT = t(D) + D/output * sum over chunks of (t(D, chunk) - t(D))
//
// A client waits for its prompt as well, so that D is below the number of clients. If all
// clients begin together, a request sees only the prompts behind its own, half of
// them in the mean.
func (s steady) tpot(p *Iterations) float64 {
	decodes, tpot := float64(s.clients), 0.0
	for range 20 { // to and fro between D and TPOT, which settle
		n := max(1, int(decodes+0.5))
		alone := p.Time(decodeBatch(n, float64(s.prompt)+float64(s.output)/2))
		more, wait := s.prefill(p, n, alone)
		if s.together {
			return alone + more*float64(n-1)/float64(2*s.output)
		}
		tpot = alone + float64(decodes/float64(s.output)*more)
		answer := tpot * float64(s.output)
		decodes = float64(s.clients) * answer / (answer + wait + alone/2)
	}
	return tpot
}

// prefill returns how many seconds a prompt adds to iterations of n decodes, which take
// alone seconds, and how long the iterations of its chunks are. Where several prompts fit
// one iteration of their own, each counts its share: those of clients that began together
// wait in line, and otherwise as many come as requests end in an iteration.
func (s steady) prefill(p *Iterations, n int, alone float64) (more, whole float64) {
	if s.apart {
		prompts := max(1, s.budget/s.prompt)
		if !s.together {
			prompts = max(1, min(prompts, (n+s.output/2)/s.output))
		}
		t := p.Time(promptBatch(prompts, s.prompt))
		return t / float64(prompts), t / float64(prompts)
	}
	room := max(1, s.budget-n)
	for done := 0; done < s.prompt; {
		chunk := min(room, s.prompt-done)
		b := decodeBatch(n, float64(s.prompt)+float64(s.output)/2)
		b.AddChunk(chunk, int64(done))
		if done += chunk; done == s.prompt {
			b.Logits++
		}
		t := p.Time(b)
		more, whole = more+t-alone, whole+t
	}
	return more, whole
}
