package calibrate

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// iterationColumns are the columns of the section iteration, in order: the sums of
// hwmodel.Batch.
var iterationColumns = []string{
	"gpu", "model", "engine", "tp", "decodes", "decode_context", "chunks", "chunk_tokens", "chunk_context", "chunk_pairs", "chunk_squares", "logits",
	"time_us", "src",
}

// iterationSection is the name of the section.
const iterationSection = "iteration"

// isIterations tells whether a table is one of whole iterations, by its section's
// name, or by its columns if it has none.
func isIterations(name string, header []string) bool {
	return name == iterationSection || name == "" && slices.Equal(header, iterationColumns)
}

func (m *Measured) iterationReader(s *sections, header []string) (func([]string) error, error) {
	if !slices.Equal(header, iterationColumns) {
		return nil, s.fail("%s has columns %s, must have %s", iterationSection, strings.Join(header, ","), strings.Join(iterationColumns, ","))
	}
	return func(record []string) error {
		i, err := parseIteration(record)
		m.Iterations = append(m.Iterations, i)
		return err
	}, nil
}

// IterationsOf returns the iterations of a model at a tensor-parallel degree.
func (m *Measured) IterationsOf(model string, tensor int) []IterationSample {
	var out []IterationSample
	for _, i := range m.Iterations {
		if i.Model == model && i.Tensor == tensor {
			out = append(out, i)
		}
	}
	return out
}

// parseIteration reads a record and refuses what no iteration can be.
func parseIteration(r []string) (IterationSample, error) {
	s := IterationSample{GPU: r[0], Model: r[1], Engine: r[2], Source: r[13]}
	if s.GPU == "" || s.Model == "" || s.Source == "" {
		return s, fmt.Errorf("gpu, model and src must be named")
	}
	var n [9]int64
	for i := range n {
		v, err := strconv.ParseInt(r[3+i], 10, 64)
		if err != nil || v < 0 || v > 1<<53 || i == 0 && v == 0 {
			return s, fmt.Errorf("%s is %q, must be a whole number above 0", iterationColumns[3+i], r[3+i])
		}
		n[i] = v
	}
	s.Tensor = int(n[0])
	b := &s.Batch
	b.Decodes, b.DecodeContext, b.Logits = int(n[1]), n[2], int(n[8])
	b.Chunks, b.ChunkTokens, b.ChunkContext, b.ChunkPairs, b.ChunkSquares = int(n[3]), int(n[4]), n[5], n[6], n[7]
	switch {
	case b.Tokens() < 1:
		return s, fmt.Errorf("it has no tokens; decodes or chunk_tokens must be above 0")
	case b.ChunkTokens < b.Chunks || b.DecodeContext < int64(b.Decodes) || b.Logits > b.Decodes+b.Chunks:
		return s, fmt.Errorf("its sums do not go together: every chunk has a token, every decode a context of 1 or more, and no sequence is sampled twice")
	}
	us, err := strconv.ParseFloat(r[12], 64)
	if err != nil || !(us > 0) || math.IsInf(us, 0) {
		return s, fmt.Errorf("time_us is %q, must be a number above 0", r[12])
	}
	s.Seconds = us * 1e-6
	return s, nil
}

// writeIterations writes the section iteration.
func writeIterations(w io.Writer, list []IterationSample) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(w, "\n[%s]\n%s\n", iterationSection, strings.Join(iterationColumns, ","))
	for i := range list {
		s, b := &list[i], &list[i].Batch
		fmt.Fprintf(w, "%s,%s,%s,%d,%d,%d,%d,%d,%d,%d,%d,%d,%s,%s\n", quoted(s.GPU), quoted(s.Model), quoted(s.Engine), s.Tensor,
			b.Decodes, b.DecodeContext, b.Chunks, b.ChunkTokens, b.ChunkContext, b.ChunkPairs, b.ChunkSquares, b.Logits,
			number(Round(s.Seconds*1e6)), quoted(s.Source))
	}
}
