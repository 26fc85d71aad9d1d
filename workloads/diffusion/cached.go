package diffusion

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
)

// Methods that keep features from one step to a later one. A full step holds what is kept
// until it ends; a cached step takes it as an input and runs what follows from it.

// DeepCache runs the whole UNet at every Interval-th step, and between these only its
// shallowest blocks, on the deep features of the last whole step (Ma and others, CVPR 2024).
type DeepCache struct {
	Interval int
	// Branch is the skip connection down to which a cached step runs: 0 is the first,
	// that of the first convolution.
	Branch int
}

// String returns the method as [ParseMethod] reads it.
func (d DeepCache) String() string {
	if d.Branch > 0 {
		return fmt.Sprintf("deepcache:%d,%d", d.Interval, d.Branch)
	}
	return fmt.Sprintf("deepcache:%d", d.Interval)
}

var skipName = regexp.MustCompile(`^up\d+/cat\d+$`)

// Rewrite implements [Rewrite].
func (d DeepCache) Rewrite(j *Job, stages []Stage) ([]Stage, error) {
	if d.Interval < 1 || d.Branch < 0 {
		return nil, fmt.Errorf("deepcache with interval %d and branch %d: want 1 or more, and 0 or more", d.Interval, d.Branch)
	}
	return everyStep(stages, func(s *Stage) (full, cached *Graph, err error) {
		cats := opsOf(s.Graph, skipName.MatchString)
		if d.Branch >= len(cats) {
			return nil, nil, fmt.Errorf("deepcache, branch %d: %s has %d skip connections, want a branch below that", d.Branch, s.Network, len(cats))
		}
		deep := s.Graph.Ops[cats[len(cats)-1-d.Branch]].Reads[0]
		return s.Graph.also(deep), s.Graph.cut(deep), nil
	}, func(step int) bool { return step%d.Interval != 0 })
}

// opsOf returns the operators whose names a function picks.
func opsOf(g *Graph, pick func(string) bool) []int {
	var list []int
	for i := range g.Ops {
		if pick(g.Ops[i].Name) {
			list = append(list, i)
		}
	}
	return list
}

// everyStep replaces every step by its full form, or by its cached form where the function
// cached says so. The two forms are made once for a graph.
func everyStep(stages []Stage, forms func(*Stage) (full, cached *Graph, err error), cached func(step int) bool) ([]Stage, error) {
	type pair struct{ full, cached *Graph }
	made := map[*Graph]pair{}
	out := make([]Stage, len(stages))
	for i, s := range stages {
		out[i] = s
		if s.Phase != Denoise {
			continue
		}
		p, ok := made[s.Graph]
		if !ok {
			var err error
			if p.full, p.cached, err = forms(&s); err != nil {
				return nil, err
			}
			made[s.Graph] = p
		}
		out[i].Graph = p.full
		if cached(s.Step) {
			out[i].Graph, out[i].Name = p.cached, cachedName(s.Name)
		}
	}
	return out, nil
}

func cachedName(name string) string {
	if strings.HasSuffix(name, "cached") {
		return name
	}
	return name + ", cached"
}

// TGate runs Gate steps with guidance and cross-attention; the steps after them have no
// guidance, and take what cross-attention answered last (Zhang and others 2024, T-GATE).
// It comes before other methods.
type TGate struct{ Gate int }

// String returns the method as [ParseMethod] reads it.
func (t TGate) String() string { return fmt.Sprintf("tgate:%d", t.Gate) }

// Rewrite implements [Rewrite].
func (t TGate) Rewrite(j *Job, stages []Stage) ([]Stage, error) {
	if t.Gate < 1 {
		return nil, fmt.Errorf("tgate at step %d: want 1 or more", t.Gate)
	}
	single, err := j.Denoiser(1)
	if err != nil {
		return nil, err
	}
	var answers []TensorID
	for _, i := range opsOf(single, func(name string) bool { return strings.HasSuffix(name, "attn2/to_out") }) {
		answers = append(answers, single.Ops[i].Writes[0])
	}
	if len(answers) == 0 {
		return nil, fmt.Errorf("tgate: %s has no cross-attention to keep", j.Pipeline.Denoiser)
	}
	gated := single.cut(answers...)
	out := make([]Stage, len(stages))
	for i, s := range stages {
		out[i] = s
		if s.Phase != Denoise || s.Step < t.Gate {
			continue
		}
		if s.Name != "step" {
			return nil, errors.New("tgate after another method: want it before others")
		}
		out[i].Name, out[i].Graph, out[i].Passes = "step, gated", gated, 1
	}
	return out, nil
}

// without returns the graph of a step that keeps the given share of the network's work
// from the step before, as nearly as the network's shape lets it: a UNet below one of its
// skip connections, a transformer for so many of its tokens. Other networks run whole.
func (g *Graph) without(share float64) *Graph {
	if layers := layersOf(g); len(layers) > 0 {
		return g.thinned(layers, answersOf(g), 1-share)
	}
	best, off := g, share
	for _, i := range opsOf(g, skipName.MatchString) {
		part := g.cut(g.Ops[i].Reads[0])
		if d := math.Abs(float64(part.MACs())/float64(g.MACs()) - (1 - share)); d < off {
			best, off = part, d
		}
	}
	return best
}
