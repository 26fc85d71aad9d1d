package calibrate

import (
	"fmt"
	"math"

	"orrery/hwmodel"
	"orrery/workloads/llm"
)

// RequestRun says what served timed requests.
type RequestRun struct {
	Rules
	Engine   string
	Model    *llm.Model
	Parallel llm.Parallel
}

// RequestRows cuts a run into windows of some twenty iterations and returns how long each
// took and what it computed, counted as [FitRequests] counts it. Windows belong to one of
// six parts of the run each, by time.
func RequestRows(ts []Timing, run RequestRun) ([]EngineRow, error) {
	r, err := newTimedRun(ts, run.Rules)
	if err != nil {
		return nil, err
	}
	r.fit(func(int) bool { return true })
	windows := r.windows()
	var out []EngineRow
	for i, w := range windows {
		x := newWindow(w.row)
		if x.iterations < windowIterations || w.took <= 0 {
			continue
		}
		out = append(out, EngineRow{
			GPU: ts[0].GPU, Device: deviceOf(ts[0].GPU), Engine: run.Engine, Model: run.Model, Parallel: run.Parallel, Kind: "iterations",
			Shape: fmt.Sprintf("%.0f iterations of %.0f decodes at %.0f, %.0f of them with %.0f prompt tokens", x.iterations, x.decodes, x.context, x.prefills, x.prompt),
			Part:  fmt.Sprintf("%s %s %d", ts[0].GPU, ts[0].Model, 6*i/len(windows)), Seconds: w.took, Predict: x.seconds,
			File: ts[0].File, Line: ts[0].Line,
		})
	}
	return out, nil
}

// window is what some iterations in a row computed.
type window struct {
	iterations       float64
	decodes, context float64 // of an iteration, and tokens each decode attends to
	prefills, prompt float64 // iterations with prompt tokens, and tokens of each
}

func newWindow(row [requestColumns]float64) window {
	w := window{iterations: row[0], prefills: min(row[5], row[0])}
	w.decodes = max(row[2]-row[5], 0) / w.iterations // a prompt counts as a sequence once
	if w.decodes > 0 {
		w.context = row[3] / (w.decodes * w.iterations)
	}
	if w.prefills > 0 {
		w.prompt = row[1] / w.prefills
	}
	return w
}

// seconds prices the iterations without and those with prompt tokens.
func (w window) seconds(p *Iterations) float64 {
	b := hwmodel.Batch{Decodes: int(w.decodes + 0.5)}
	b.DecodeContext, b.Logits = int64(w.decodes*w.context+0.5), b.Decodes
	if b.Decodes == 0 {
		b = *decodeBatch(1, max(1, w.context))
	}
	t := (w.iterations - w.prefills) * p.Time(&b)
	if tokens := int(math.Round(w.prompt)); tokens > 0 {
		b.AddChunk(tokens, 0)
		b.Logits++
		t += w.prefills * p.Time(&b)
	}
	return t
}
