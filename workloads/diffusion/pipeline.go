package diffusion

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"orrery/internal/names"
)

// pipelineFiles holds one TOML file per pipeline, each naming its source.
//
//go:embed pipelines/*.toml
var pipelineFiles embed.FS

// Pipeline is what turns a prompt or an image into images or a video: encoders that
// run once, a denoiser that runs at every step, and a decoder; and the settings that
// hold where a [Job] says nothing else. The TOML keys are those of the files in the
// folder pipelines.
type Pipeline struct {
	Name   string `toml:"-"`
	Title  string `toml:"title"`
	Source string `toml:"source"` // where the settings come from
	Like   string `toml:"like"`   // the pipeline whose values hold where this one has none

	Text     []Encoder `toml:"text"`     // of the prompt
	Image    []Encoder `toml:"image"`    // of an image that is given
	Tokens   int       `toml:"tokens"`   // of text that the denoiser reads; 0: those of the encoder with most
	Denoiser string    `toml:"denoiser"` // network
	Decoder  Decoder   `toml:"decoder"`
	Loaded   []Weights `toml:"loaded"` // what is in memory beside the networks above, though no run uses it
	Concat   int       `toml:"concat"` // channels of an image's latent that the denoiser reads beside its own

	Width     int    `toml:"width"`  // pixels
	Height    int    `toml:"height"` // pixels
	Multiple  int    `toml:"multiple"`
	Frames    int    `toml:"frames"`     // 0: images
	MaxFrames int    `toml:"max_frames"` // that the network was made for; 0: images
	FrameStep int    `toml:"frame_step"` // frames less one are a multiple of it; 0: 1
	Steps     int    `toml:"steps"`
	StepsOf   []int  `toml:"steps_of"` // the step counts that it was distilled for; none: any
	Sampler   string `toml:"sampler"`
	Family    string `toml:"family"` // of samplers that fit; empty: diffusion
	Passes    int    `toml:"passes"` // 2 with classifier-free guidance
	DType     string `toml:"dtype"`
	// DecodeAtOnce is how many images or frames the decoder takes at a time; 0: all.
	DecodeAtOnce int `toml:"decode_at_once"`
}

// Encoder is a network that runs once for a job, before the first step.
type Encoder struct {
	Network string `toml:"network"`
	Tokens  int    `toml:"tokens"`   // that it reads; 0: the network's own number
	PerPass bool   `toml:"per_pass"` // runs for the empty prompt too, where guidance is on
	DType   string `toml:"dtype"`    // empty: the job's
	Shrink  int    `toml:"shrink"`   // of an image encoder: its image's side is the job's over it; 0: 1
	Side    int    `toml:"side"`     // of an image encoder: its image's side in pixels, whatever the job's; 0: the job's
}

// Decoder is the network that turns latents into pixels.
type Decoder struct {
	Network string `toml:"network"`
	DType   string `toml:"dtype"` // empty: the job's
	// Frames says that frames are decoded as a video of one batch, as temporal decoders
	// do; otherwise each is an image.
	Frames bool `toml:"frames"`
	// Pieces says that it decodes a clip piece by piece by itself, so that frames are not
	// to be handed to it apart.
	Pieces bool `toml:"pieces"`
}

// Weights are parameters that are held in memory and never run.
type Weights struct {
	Name    string `toml:"name"`
	Network string `toml:"network"` // whose parameters they are, or
	Params  int64  `toml:"params"`  // how many
	DType   string `toml:"dtype"`   // empty: the job's
}

// PipelineNames returns the names of the pipelines that come with the program, in
// alphabetical order.
func PipelineNames() []string {
	entries, err := pipelineFiles.ReadDir("pipelines")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	list := make([]string, 0, len(entries))
	for _, e := range entries {
		list = append(list, strings.TrimSuffix(e.Name(), ".toml"))
	}
	slices.Sort(list) // sd15 before sd15-lcm
	return list
}

// LoadPipeline returns the pipeline of the given name: one of [PipelineNames], or the
// path of a .toml file like those of the folder pipelines.
func LoadPipeline(name string) (*Pipeline, error) {
	data, file, err := readPipeline(name)
	if err != nil {
		return nil, err
	}
	p := &Pipeline{}
	var base struct {
		Like string `toml:"like"`
	}
	if _, err := toml.Decode(string(data), &base); err == nil && base.Like != "" {
		if base.Like == name || !slices.Contains(PipelineNames(), base.Like) {
			return nil, fmt.Errorf("%s: like: %w", file, names.Unknown("pipeline", base.Like, PipelineNames()))
		}
		if p, err = LoadPipeline(base.Like); err != nil {
			return nil, err
		}
	}
	if err := decodeStrict(data, file, p); err != nil {
		return nil, err
	}
	p.Name = strings.TrimSuffix(filepath.Base(name), ".toml")
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return p, nil
}

func readPipeline(name string) (data []byte, file string, err error) {
	if filepath.Ext(name) == ".toml" {
		if data, err = os.ReadFile(name); err != nil {
			return nil, "", fmt.Errorf("pipeline file: %w", err)
		}
		return data, name, nil
	}
	file = "pipelines/" + name + ".toml"
	if data, err = pipelineFiles.ReadFile(file); err != nil {
		return nil, "", fmt.Errorf("%w (or give the path of a .toml file)", names.Unknown("pipeline", name, PipelineNames()))
	}
	return data, file, nil
}

// decodeStrict reads TOML into v, and refuses keys that v does not have.
func decodeStrict(data []byte, file string, v any) error {
	meta, err := toml.Decode(string(data), v)
	if err != nil {
		if pe, ok := err.(toml.ParseError); ok {
			return fmt.Errorf("%s:%d: %s", file, pe.Position.Line, pe.Message)
		}
		return fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "toml: "))
	}
	if extra := meta.Undecoded(); len(extra) > 0 {
		return fmt.Errorf("%s: unknown key %q", file, extra[0].String())
	}
	return nil
}

// check refuses a descriptor that no job could run.
func (p *Pipeline) check() error {
	for _, s := range []struct{ key, value string }{
		{"title", p.Title}, {"source", p.Source}, {"denoiser", p.Denoiser}, {"decoder.network", p.Decoder.Network},
		{"sampler", p.Sampler}, {"dtype", p.DType},
	} {
		if s.value == "" {
			return fmt.Errorf("%s is missing", s.key)
		}
	}
	for _, n := range []struct {
		key           string
		value, lo, hi int
	}{
		{"width", p.Width, 1, maxSide}, {"height", p.Height, 1, maxSide}, {"multiple", p.Multiple, 1, 1024},
		{"frames", p.Frames, 0, 1024}, {"max_frames", p.MaxFrames, p.Frames, 1024}, {"frame_step", p.FrameStep, 0, 64},
		{"steps", p.Steps, 1, maxSteps}, {"passes", p.Passes, 1, 2}, {"decode_at_once", p.DecodeAtOnce, 0, 1024},
		{"concat", p.Concat, 0, 1024}, {"tokens", p.Tokens, 0, 1 << 16},
	} {
		if n.value < n.lo || n.value > n.hi {
			return fmt.Errorf("%s is %d; want a number from %d to %d", n.key, n.value, n.lo, n.hi)
		}
	}
	for _, n := range p.Networks() {
		if !slices.Contains(Names(), n) {
			return names.Unknown("network", n, Names())
		}
	}
	return p.Job().Validate()
}

// Networks returns the names of the networks that a run of the pipeline calls.
func (p *Pipeline) Networks() []string {
	var list []string
	for _, e := range slices.Concat(p.Text, p.Image) {
		list = append(list, e.Network)
	}
	return append(list, p.Denoiser, p.Decoder.Network)
}

// Video says whether the pipeline makes videos rather than images.
func (p *Pipeline) Video() bool { return p.Frames > 0 }

// Job returns the pipeline's own settings, for one image or video.
func (p *Pipeline) Job() *Job {
	return &Job{
		Pipeline: p, Width: p.Width, Height: p.Height, Frames: p.Frames, Batch: 1,
		Steps: p.Steps, Sampler: p.Sampler, Passes: p.Passes, DType: p.DType, DecodeAtOnce: p.DecodeAtOnce,
	}
}
