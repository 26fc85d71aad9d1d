package diffusion

import (
	"cmp"
	"fmt"
	"slices"

	"orrery/internal/names"
)

// Job is one run of a pipeline: how many images or videos, of what size, in how many
// steps, and how. [Pipeline.Job] fills in the pipeline's own settings.
type Job struct {
	Pipeline      *Pipeline
	Width, Height int // pixels
	Frames        int // of a video; 0: images
	Batch         int // images or videos at a time
	Steps         int
	Sampler       string // one of [Samplers], or the path of a schedule file
	Passes        int    // of the denoiser at each step: 2 with classifier-free guidance
	DType         string // fp16, bf16 or fp32
	Scores        bool   // attention scores are materialised
	DecodeAtOnce  int    // images or frames that the decoder takes at a time; 0: all
	Tile          int    // side in pixels of the tiles that an image is decoded in; 0: whole images
	Method        Method
}

// Method is what changes the way in which a job runs. The zero value changes nothing.
type Method struct {
	// Guided is the part of the steps that has guidance, as shares of their number; To 0 stands for all.
	Guided Interval
	// Rewrites are applied in order, each to what the one before it left.
	Rewrites []Rewrite
}

// Interval is a part of a run, in shares of it: [From, To).
type Interval struct{ From, To float64 }

// has says whether step i of n lies in the interval.
func (v Interval) has(i, n int) bool {
	at := float64(i) / float64(n)
	return v.To == 0 || v.From <= at && at < v.To
}

// Rewrite is a method that saves time or memory: it replaces calls of networks by others.
type Rewrite interface {
	// Rewrite returns what is run instead of stages. The denoiser's come one by one,
	// evaluation by evaluation, without the sampler's own arithmetic; equal ones share a
	// Graph, which must not be changed. Errors say in one line what would be right.
	Rewrite(j *Job, stages []Stage) ([]Stage, error)
}

// Phase is a part of a pipeline's run.
type Phase uint8

const (
	Encode  Phase = iota // prompts and images
	Denoise              // a step
	Decode               // latents to pixels
)

var phaseNames = [...]string{"encode", "step", "decode"}

// String returns the phase's name.
func (p Phase) String() string { return phaseNames[p] }

// Stage is a call of a network, some times in a row. A run is its stages in order.
type Stage struct {
	Name    string // the phase and, where it has several, which part of it: "step", "step, cached", "encode clip-l"
	Phase   Phase
	Network string // whose call it is
	Graph   *Graph
	Times   int // how often in a row
	DType   string
	Step    int // of the sampler, from 0, where Phase is Denoise; the first of those in a row
	Passes  int // of guidance in one call, where Phase is Denoise
}

const (
	maxSide   = 1 << 15
	maxSteps  = 10_000
	maxBatch  = 1 << 12
	minTile   = 64
	maxImages = 1 << 14 // a batch's frames, guidance included
)

// dtypes are the number formats that networks run in, with the bytes of an element.
var dtypes = map[string]int{"fp16": 2, "bf16": 2, "fp32": 4}

// Validate returns an error, of one line with what would be right, unless the job can run.
func (j *Job) Validate() error {
	for _, f := range []func() error{j.checkSize, j.checkFrames, j.checkCounts, j.checkSteps} {
		if err := f(); err != nil {
			return fmt.Errorf("%s: %w", j.Pipeline.Name, err)
		}
	}
	return nil
}

// checkSize refuses sides that the networks cannot halve as often as they do.
func (j *Job) checkSize() error {
	m := j.Pipeline.Multiple
	if j.Width >= m && j.Height >= m && j.Width%m == 0 && j.Height%m == 0 && j.Width <= maxSide && j.Height <= maxSide {
		return nil
	}
	return fmt.Errorf("size %dx%d: want sides that are multiples of %d, such as %dx%d", j.Width, j.Height, m, nearest(j.Width, m), nearest(j.Height, m))
}

// nearest returns the side next to n that is a multiple of m.
func nearest(n, m int) int { return min(max((n+m/2)/m, 1)*m, maxSide/m*m) }

// checkFrames refuses frames where there are images, and more than the motion layers know.
func (j *Job) checkFrames() error {
	p := j.Pipeline
	step := max(p.FrameStep, 1)
	switch {
	case !p.Video() && j.Frames > 1:
		return fmt.Errorf("%d frames: makes images, want no frames", j.Frames)
	case !p.Video():
		return nil
	case j.Frames < 1 || j.Frames > p.MaxFrames:
		return fmt.Errorf("%d frames: want from 1 to %d", j.Frames, p.MaxFrames)
	case (j.Frames-1)%step != 0:
		return fmt.Errorf("%d frames: want one and a multiple of %d, such as %d", j.Frames, step, 1+nearest(j.Frames-1, step))
	}
	return nil
}

// checkCounts refuses what cannot be a number of things, and formats without a width.
func (j *Job) checkCounts() error {
	switch {
	case j.Batch < 1 || j.Batch > maxBatch:
		return fmt.Errorf("a batch of %d: want from 1 to %d", j.Batch, maxBatch)
	case j.Passes < 1 || j.Passes > 2:
		return fmt.Errorf("%d passes: want 2 with guidance or 1 without", j.Passes)
	case j.Batch*j.Passes*max(j.Frames, 1) > maxImages:
		return fmt.Errorf("a batch of %d: that is %d images at a time, want at most %d", j.Batch, j.Batch*j.Passes*max(j.Frames, 1), maxImages)
	case j.DecodeAtOnce != 0 && j.Pipeline.Decoder.Pieces:
		return fmt.Errorf("decoding %d at a time: its autoencoder takes a clip piece by piece by itself, want 0", j.DecodeAtOnce)
	case j.DecodeAtOnce < 0:
		return fmt.Errorf("decoding %d at a time: want 1 or more, or 0 for all at once", j.DecodeAtOnce)
	case j.Tile != 0 && (j.Tile < minTile || j.Tile%8 != 0):
		return fmt.Errorf("tiles of %d pixels: want a multiple of 8 from %d, such as 512, or 0 for whole images", j.Tile, minTile)
	case j.Tile != 0 && j.Pipeline.Decoder.Frames:
		return fmt.Errorf("tiles of %d pixels: %s decodes videos, want 0", j.Tile, j.Pipeline.Decoder.Network)
	case dtypes[j.DType] == 0:
		return names.Unknown("dtype", j.DType, []string{"fp16", "bf16", "fp32"})
	}
	return nil
}

// checkSteps refuses samplers and step counts that the model was not made for.
func (j *Job) checkSteps() error {
	of, g := j.Pipeline.StepsOf, j.Method.Guided
	switch {
	case len(of) > 0 && !slices.Contains(of, j.Steps):
		return fmt.Errorf("%d steps: was distilled for %s", j.Steps, oneOf(of))
	case !(0 <= g.From && g.From <= g.To && g.To <= 1):
		return fmt.Errorf("guidance from %g to %g of the steps: want shares from 0 to 1", g.From, g.To)
	}
	s, err := LoadSampler(j.Sampler)
	if err != nil {
		return err
	}
	switch family := cmp.Or(j.Pipeline.Family, FamilyDiffusion); {
	case s.Family != family:
		return fmt.Errorf("sampler %s: samples %s models, want one for %s models, such as %s", s.Name, s.Family, family, j.Pipeline.Sampler)
	case s.Alone && j.Passes > 1:
		return fmt.Errorf("sampler %s with %d passes: its models have no guidance, want 1", s.Name, j.Passes)
	}
	_, err = s.Steps(j.Steps)
	return err
}

// oneOf returns numbers as "1, 2, 4 or 8".
func oneOf(list []int) string {
	s := fmt.Sprint(list[0])
	for i, n := range list[1:] {
		if i == len(list)-2 {
			s += " or "
		} else {
			s += ", "
		}
		s += fmt.Sprint(n)
	}
	return s
}
