package diffusion

import (
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// Rehash is Step Rehash of Streamlined Inference: key steps run the whole UNet and keep what
// the temporal layer of the last level's second position answers; the steps between
// take that over and run only what follows from it.
type Rehash struct {
	Keys []int // steps that are run whole, rising; the first is 0
	// Threshold, where there are no Keys, is how alike steps are to be that are taken over,
	// by what [DescribedSimilarity] makes of the paper's description.
	Threshold float64
	text      string
}

// String returns the method as [ParseMethod] reads it.
func (r Rehash) String() string { return r.text }

// EvenKeys returns full of n steps as key steps, evenly spread, the first and the last among
// them: where nothing is known of how alike steps are.
func EvenKeys(full, n int) []int {
	var keys []int
	for i := range full {
		if full == 1 {
			return []int{0}
		}
		keys = append(keys, (i*(n-1)+(full-1)/2)/(full-1))
	}
	return keys
}

// KeySteps returns the key steps for a matrix of similarities between the features of
// steps: a step is taken over from the last key step as long as it is at least as like it as the
// threshold says (Algorithm 1 of the paper, which makes the last step one in any case).
func KeySteps(similarity [][]float64, threshold float64) []int {
	n := len(similarity)
	if n == 0 {
		return nil
	}
	keys, j := []int{0}, 0
	for i := 1; i < n; i++ {
		if similarity[i][j] < threshold {
			keys = append(keys, i)
			j = i
		}
	}
	if keys[len(keys)-1] != n-1 {
		keys = append(keys, n-1)
	}
	return keys
}

// DescribedSimilarity returns how alike the features of n steps are, drawn up from what the
// paper says of 25 steps, of which it prints no table: above 97 % over steps 0 to 13, below
// 93 % over two steps at 17 to 19, and above it again at 20 to 22. Between these it is
// assumed that every step takes away the same share, and that shares multiply; other
// numbers of steps are spread over the same course. A threshold of 0.98 makes 13 of 25
// steps key steps, as many as the paper runs whole.
func DescribedSimilarity(n int) [][]float64 {
	const steps = 25
	lost := func(at float64) float64 { // since step 0, logarithm
		early := -math.Log(0.975) / 13
		middle := -math.Log(0.92) / 2
		late := -math.Log(0.94) / 2
		return early*min(at, 13) + middle*max(min(at, 20)-13, 0) + late*max(at-20, 0)
	}
	m := make([][]float64, n)
	for i := range m {
		m[i] = make([]float64, n)
		for j := range m[i] {
			scale := (steps - 1) / float64(max(n-1, 1))
			m[i][j] = math.Exp(-math.Abs(lost(float64(i)*scale) - lost(float64(j)*scale)))
		}
	}
	return m
}

// ReadSimilarity reads a square matrix of similarities, a line a step, separated by commas.
func ReadSimilarity(path string) ([][]float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("similarities: %w", err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comment, r.FieldsPerRecord = '#', -1
	r.TrimLeadingSpace = true
	rows, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	out := make([][]float64, len(rows))
	for i, row := range rows {
		if len(row) != len(rows) {
			return nil, fmt.Errorf("%s:%d: %d similarities in a matrix of %d steps: want as many as there are lines", filepath.Base(path), i+1, len(row), len(rows))
		}
		for _, text := range row {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil || !(v >= -1 && v <= 1) {
				return nil, fmt.Errorf("%s:%d: %q is no similarity: want -1 to 1", filepath.Base(path), i+1, text)
			}
			out[i] = append(out[i], v)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: has no similarities: want a line a step", filepath.Base(path))
	}
	return out, nil
}

// keptFeature is the last operator of the temporal layer whose answer is kept.
var keptFeature = regexp.MustCompile(`^up3/(motion1|attn1)/residual$`)

// Rewrite implements [Rewrite].
func (r Rehash) Rewrite(j *Job, stages []Stage) ([]Stage, error) {
	if r.Keys == nil {
		r.Keys = KeySteps(DescribedSimilarity(j.Steps), r.Threshold)
	}
	key := make(map[int]bool, len(r.Keys))
	for i, k := range r.Keys {
		if k < 0 || k >= j.Steps || i == 0 && k != 0 || i > 0 && k <= r.Keys[i-1] {
			return nil, fmt.Errorf("%s: key step %d of %d steps: want rising steps from 0 to %d, the first among them", r.text, k, j.Steps, j.Steps-1)
		}
		key[k] = true
	}
	return everyStep(stages, func(s *Stage) (full, cached *Graph, err error) {
		at := opsOf(s.Graph, keptFeature.MatchString)
		if len(at) == 0 || !temporal(s.Graph) {
			return nil, nil, fmt.Errorf("%s: %s has no temporal layer to keep; want animatediff or svd", r.text, s.Network)
		}
		// The motion module comes after the transformer, and SVD's transformer ends with
		// its temporal layer, a projection and the sum with what it was handed.
		kept := s.Graph.Ops[at[len(at)-1]].Writes[0]
		return s.Graph.also(kept), s.Graph.cut(kept), nil
	}, func(step int) bool { return !key[step] })
}

// temporal tells whether a graph has operators over frames.
func temporal(g *Graph) bool {
	return slices.ContainsFunc(g.Ops, func(op Op) bool { return op.Axis == Temporal })
}

// Clips is naive slicing: the video is cut into clips of so many frames that are made one
// after the other. Where a clip begins with the last frame of the one before, it adds
// one frame less.
type Clips struct {
	Frames  int
	Overlap bool // each clip begins with the last frame of the one before
}

// String returns the method as [ParseMethod] reads it.
func (c Clips) String() string { return fmt.Sprintf("clips:%d", c.Frames) }

// Rewrite implements [Rewrite].
func (c Clips) Rewrite(j *Job, _ []Stage) ([]Stage, error) {
	if c.Frames < 1 || c.Frames > j.Frames || c.Overlap && c.Frames < 2 {
		return nil, fmt.Errorf("%s of a video of %d frames: want from %d to %d", c, j.Frames, 1, j.Frames)
	}
	n := (j.Frames + c.Frames - 1) / c.Frames
	if c.Overlap {
		n = max((j.Frames-1+c.Frames-2)/(c.Frames-1), 1)
	}
	short := *j
	short.Frames = c.Frames
	short.Method.Rewrites = nil
	steps, err := short.SolverSteps()
	if err != nil {
		return nil, err
	}
	stages, err := short.calls(steps)
	if err != nil {
		return nil, err
	}
	var out []Stage
	for i := range n {
		for _, s := range stages {
			// Prompts are encoded once, the image that a clip starts from every time.
			if i > 0 && s.Phase == Encode && !c.Overlap {
				continue
			}
			out = append(out, s)
		}
	}
	return out, nil
}
