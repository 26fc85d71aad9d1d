package diffusion

import (
	"cmp"
	"fmt"
	"slices"
)

// Stages returns the calls of the job's networks, in order: encoders, the sampler's steps,
// decoder. Calls that do the same share a Graph.
func (j *Job) Stages() ([]Stage, error) {
	steps, err := j.SolverSteps()
	if err != nil {
		return nil, err
	}
	stages, err := j.calls(steps)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", j.Pipeline.Name, err)
	}
	return j.solve(stages, steps), nil
}

// SolverSteps returns the steps of the job's sampler.
func (j *Job) SolverSteps() ([]SolverStep, error) {
	if err := j.Validate(); err != nil {
		return nil, err
	}
	s, err := LoadSampler(j.Sampler)
	if err != nil {
		return nil, err
	}
	return s.Steps(j.Steps)
}

// calls returns the calls of networks, rewritten by the job's method, one by one and
// without the sampler's own arithmetic.
func (j *Job) calls(steps []SolverStep) ([]Stage, error) {
	w := &writer{job: j, graphs: map[graphKey]*Graph{}, parts: map[partKey]*Graph{}}
	for _, e := range j.Pipeline.Text {
		w.text(e)
	}
	for _, e := range j.Pipeline.Image {
		w.image(e)
	}
	for i, s := range steps {
		for range s.Evaluations {
			w.step(i, s)
		}
	}
	w.decode()
	if w.err != nil {
		return nil, w.err
	}
	stages := w.stages
	for _, r := range j.Method.Rewrites {
		var err error
		if stages, err = r.Rewrite(j, stages); err != nil {
			return nil, err
		}
	}
	return stages, nil
}

// Denoiser returns the graph of one call of the job's denoiser with the given passes.
func (j *Job) Denoiser(passes int) (*Graph, error) {
	n, err := Load(j.Pipeline.Denoiser)
	if err != nil {
		return nil, err
	}
	return n.Graph(j.denoiser(passes))
}

func (j *Job) denoiser(passes int) Call {
	text := j.Pipeline.Tokens
	for _, e := range j.Pipeline.Text {
		if j.Pipeline.Tokens == 0 {
			text = max(text, e.Tokens)
		}
	}
	return Call{
		Batch: j.Batch, Frames: max(j.Frames, 1), Passes: passes, Height: j.Height, Width: j.Width,
		DType: j.DType, Scores: j.Scores, Text: text,
	}
}

// writer writes a job's stages. The first error stays.
type writer struct {
	job    *Job
	graphs map[graphKey]*Graph
	parts  map[partKey]*Graph
	stages []Stage
	err    error
}

type graphKey struct {
	network string
	call    Call
}

type partKey struct {
	graph  *Graph
	cached float64
}

// add appends a stage.
func (w *writer) add(s Stage, c Call) {
	if w.err != nil || s.Times == 0 {
		return
	}
	key := graphKey{s.Network, c}
	if w.graphs[key] == nil {
		n, err := Load(s.Network)
		if err != nil {
			w.err = err
			return
		}
		if w.graphs[key], w.err = n.Graph(c); w.err != nil {
			return
		}
	}
	s.Graph, s.DType = w.graphs[key], c.DType
	w.stages = append(w.stages, s)
}

// text runs a text encoder: once for the prompts, and once more for the empty ones.
func (w *writer) text(e Encoder) {
	times := 1
	if e.PerPass {
		times = w.job.Passes
	}
	w.add(Stage{Name: "encode " + e.Network, Phase: Encode, Network: e.Network, Times: times}, Call{
		Batch: w.job.Batch, Frames: 1, Passes: 1, DType: cmp.Or(e.DType, w.job.DType), Scores: w.job.Scores, Text: e.Tokens,
	})
}

// image runs an encoder of the images that the job starts from.
func (w *writer) image(e Encoder) {
	shrink := max(e.Shrink, 1)
	w.add(Stage{Name: "encode " + e.Network, Phase: Encode, Network: e.Network, Times: 1}, Call{
		Batch: w.job.Batch, Frames: 1, Passes: 1, DType: cmp.Or(e.DType, w.job.DType), Scores: w.job.Scores,
		Height: cmp.Or(e.Side, w.job.Height/shrink), Width: cmp.Or(e.Side, w.job.Width/shrink),
	})
}

// step runs the denoiser once.
func (w *writer) step(i int, s SolverStep) {
	passes := w.job.Passes
	if s.Unguided || !w.job.Method.Guided.has(i, w.job.Steps) {
		passes = 1
	}
	w.add(Stage{Name: "step", Phase: Denoise, Network: w.job.Pipeline.Denoiser, Times: 1, Step: i, Passes: passes}, w.job.denoiser(passes))
	if s.Cached > 0 && w.err == nil {
		last := &w.stages[len(w.stages)-1]
		last.Name = cachedName(last.Name)
		last.Graph = w.part(last.Graph, s.Cached)
	}
}

// part returns the graph of a step that runs g without the given share of it.
func (w *writer) part(g *Graph, cached float64) *Graph {
	key := partKey{g, cached}
	if w.parts[key] == nil {
		w.parts[key] = g.without(cached)
	}
	return w.parts[key]
}

// decode makes pixels, so many images or frames at a time as the job says, and the rest.
// Temporal decoders take no more than the frames of one video.
func (w *writer) decode() {
	j, d := w.job, &w.job.Pipeline.Decoder
	frames := max(j.Frames, 1)
	items, most := j.Batch*frames, j.Batch*frames
	if d.Frames {
		most = frames
	}
	if j.DecodeAtOnce > 0 {
		most = min(most, j.DecodeAtOnce)
	}
	for _, part := range []struct{ times, n int }{{items / most, most}, {1, items % most}} {
		if part.n == 0 {
			continue
		}
		for _, tile := range j.tiles() {
			c := Call{Batch: part.n, Frames: 1, Passes: 1, Height: tile.height, Width: tile.width, DType: cmp.Or(d.DType, j.DType), Scores: j.Scores}
			if d.Frames {
				c.Batch, c.Frames = 1, part.n
			}
			w.add(Stage{Name: "decode", Phase: Decode, Network: d.Network, Times: part.times * tile.times}, c)
		}
	}
}

// tile is a part of an image, in pixels, and how often there is one of its size.
type tile struct{ width, height, times int }

// tiles returns the parts that an image is decoded in: as the tiled decoding of diffusers
// has it, one starts at every three quarters of a tile, and those at the edges are smaller.
func (j *Job) tiles() []tile {
	if j.Tile == 0 {
		return []tile{{j.Width, j.Height, 1}}
	}
	cut := func(side int) (lengths []int) {
		const position = 8 // pixels of one position of the latent
		step := j.Tile / position * 3 / 4
		for at := 0; at < side/position; at += step {
			lengths = append(lengths, position*min(j.Tile/position, side/position-at))
		}
		return lengths
	}
	var list []tile
	for _, h := range cut(j.Height) {
		for _, w := range cut(j.Width) {
			at := slices.IndexFunc(list, func(t tile) bool { return t.width == w && t.height == h })
			if at < 0 {
				list = append(list, tile{w, h, 1})
			} else {
				list[at].times++
			}
		}
	}
	return list
}
