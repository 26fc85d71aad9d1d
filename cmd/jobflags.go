package cmd

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"orrery/workloads/diffusion"
)

// jobFlags say how a pipeline of image or video diffusion is run, where it is not as the
// pipeline itself has it.
type jobFlags struct {
	size, sampler, dtype         string
	frames, batch, steps, passes int
	decodeAtOnce, tile           int
	scores                       bool
	methods                      []string
	guided                       string

	given func(name string) bool
}

// add adds the flags. Zero is no default: a flag counts if it is given.
func (f *jobFlags) add(c *cobra.Command) {
	fs := c.Flags()
	fs.StringVar(&f.size, "size", "", "size in pixels, as in 1024x576 (default: the pipeline's)")
	fs.IntVar(&f.frames, "frames", 0, "frames of a video")
	fs.IntVar(&f.batch, "batch", 1, "images or videos at a time")
	fs.IntVar(&f.steps, "steps", 0, "denoising steps")
	fs.IntVar(&f.passes, "passes", 0, "passes of the denoiser at each step: 2 with guidance, 1 without")
	fs.StringVar(&f.sampler, "sampler", "", "sampler, or the file of a schedule")
	fs.StringVar(&f.dtype, "dtype", "", "fp16, bf16 or fp32")
	fs.IntVar(&f.decodeAtOnce, "decode-at-once", 0, "images or frames that the decoder takes at a time, 0 for all")
	fs.IntVar(&f.tile, "tile", 0, "side in pixels of the tiles that an image is decoded in, 0 for whole images")
	fs.BoolVar(&f.scores, "scores", false, "attention scores are materialised, as without fused attention")
	fs.StringArrayVar(&f.methods, "method", nil, "method that saves time, such as deepcache:3; several in their order; see orrery list methods")
	fs.StringVar(&f.guided, "guided", "", "part of the steps that has guidance, in shares as in 0.1-0.6 (default: all)")
	f.given = fs.Changed
	c.ValidArgsFunction = func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return diffusion.PipelineNames(), cobra.ShellCompDirectiveDefault
	}
}

// job returns the job of a pipeline, named or in a file, as the flags want it.
func (f *jobFlags) job(pipeline string) (*diffusion.Job, error) {
	p, err := diffusion.LoadPipeline(pipeline)
	if err != nil {
		return nil, badInput{err}
	}
	j := p.Job()
	if f.given("size") {
		if j.Width, j.Height, err = parseSize(f.size); err != nil {
			return nil, err
		}
	}
	for _, n := range []struct {
		flag     string
		to, from *int
	}{
		{"frames", &j.Frames, &f.frames}, {"batch", &j.Batch, &f.batch}, {"steps", &j.Steps, &f.steps},
		{"passes", &j.Passes, &f.passes}, {"decode-at-once", &j.DecodeAtOnce, &f.decodeAtOnce}, {"tile", &j.Tile, &f.tile},
	} {
		if f.given(n.flag) {
			*n.to = *n.from
		}
	}
	if f.given("sampler") {
		j.Sampler = f.sampler
	}
	if f.given("dtype") {
		j.DType = f.dtype
	}
	j.Scores = f.scores
	if f.given("guided") {
		if j.Method.Guided, err = parseInterval(f.guided); err != nil {
			return nil, err
		}
	}
	for _, text := range f.methods {
		r, err := diffusion.ParseMethod(text, p)
		if err != nil {
			return nil, badInput{err}
		}
		j.Method.Rewrites = append(j.Method.Rewrites, r)
	}
	if err := j.Validate(); err != nil {
		return nil, badInput{err}
	}
	return j, nil
}

// parseInterval reads a part of a run such as 0.1-0.6.
func parseInterval(text string) (v diffusion.Interval, err error) {
	from, to, ok := strings.Cut(text, "-")
	var errFrom, errTo error
	v.From, errFrom = strconv.ParseFloat(from, 64)
	v.To, errTo = strconv.ParseFloat(to, 64)
	if !ok || errFrom != nil || errTo != nil || !(v.To > 0) {
		return v, inputErrorf("--guided %s; want shares of the steps, such as 0.1-0.6", text)
	}
	return v, nil
}

// parseSize reads a size such as 1024x576, width first.
func parseSize(text string) (width, height int, err error) {
	w, h, ok := strings.Cut(text, "x")
	width, errW := strconv.Atoi(w)
	height, errH := strconv.Atoi(h)
	if !ok || errW != nil || errH != nil {
		return 0, 0, inputErrorf("--size %s; want width and height in pixels, such as 1024x576", text)
	}
	return width, height, nil
}

// describeJob says in words how a job runs.
func describeJob(j *diffusion.Job) string {
	parts := []string{fmt.Sprintf("%dx%d", j.Width, j.Height)}
	if j.Frames > 0 {
		parts = append(parts, fmt.Sprintf("%d frames", j.Frames))
	}
	steps := fmt.Sprintf("%d steps", j.Steps)
	if j.Steps == 1 {
		steps = "1 step"
	}
	if j.Sampler != j.Pipeline.Sampler {
		steps += " of " + j.Sampler
	}
	parts = append(parts, fmt.Sprintf("batch %d", j.Batch), steps)
	switch g := j.Method.Guided; {
	case j.Passes == 2 && g.To > 0:
		parts = append(parts, fmt.Sprintf("guidance from %g to %g of the steps", g.From, g.To))
	case j.Passes == 2:
		parts = append(parts, "guidance")
	}
	parts = append(parts, j.DType)
	if j.Scores {
		parts = append(parts, "scores materialised")
	}
	if j.DecodeAtOnce > 0 {
		parts = append(parts, fmt.Sprintf("decoding %d at a time", j.DecodeAtOnce))
	}
	if j.Tile > 0 {
		parts = append(parts, fmt.Sprintf("decoding in tiles of %d pixels", j.Tile))
	}
	for _, r := range j.Method.Rewrites {
		if s, ok := r.(fmt.Stringer); ok {
			parts = append(parts, s.String())
		}
	}
	return strings.Join(parts, ", ")
}
