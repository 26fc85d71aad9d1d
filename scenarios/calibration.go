package scenarios

import (
	"math"

	"orrery/hwmodel"
	"orrery/report"
)

// TimeError returns the relative standard error of the times that iterations of a run are
// priced at, as far as they err together, and false where the prices state none: of those of text and of
// images the larger. The run's
// result says what its iterations were like in the mean.
func (s *Scenario) TimeError(r *report.Result) (float64, bool) {
	images, ok := s.imageError()
	if !s.text {
		return images, ok
	}
	m, _, err := s.Cost.part.model(s)
	if err != nil {
		return 0, false
	}
	c, text := m.(interface {
		Doubt(b *hwmodel.Batch) float64
	})
	b := meanBatch(r)
	if !text || b.Tokens() == 0 {
		return images, ok
	}
	return max(images, c.Doubt(b)), true
}

// imageError returns the largest relative standard error of the times of images and clips,
// and false where none was priced.
func (s *Scenario) imageError() (float64, bool) {
	const ofBand = 1.645 // standard deviations in half a band for nine in ten
	widest, ok := 0.0, false
	for i := range s.Pools {
		if s.Pools[i].Count == 0 {
			continue
		}
		programs, _, _, err := s.programs(i)
		if err != nil {
			return 0, false
		}
		for _, rungs := range programs {
			for _, p := range rungs {
				if p, priced := p.(*poolProgram); priced {
					widest, ok = max(widest, p.Costs[0].Band/ofBand), true
				}
			}
		}
	}
	return widest, ok
}

// meanBatch returns the batch of the mean iteration of a run: its decodes, half-way through
// their answers, and its share of all prompts as one chunk.
func meanBatch(r *report.Result) *hwmodel.Batch {
	n := float64(r.Iterations.Count)
	started := float64(r.Requests.Arrived - r.Requests.Rejected)
	if n == 0 || started == 0 {
		return &hwmodel.Batch{}
	}
	computed := float64(r.Tokens.Prompt + r.Tokens.Recomputed)
	var b hwmodel.Batch
	if d := float64(r.Iterations.DecodesMean); d > 0 {
		b.Decodes = max(1, int(math.Round(d)))
		context := (float64(r.Tokens.Prompt) + float64(r.Tokens.Output)/2) / started
		b.DecodeContext, b.Logits = int64(float64(b.Decodes)*max(1, context)), b.Decodes
	}
	if chunk := int(math.Round(computed / n)); chunk > 0 {
		b.AddChunk(chunk, int64(computed/started/2))
		b.Logits++
	}
	return &b
}
