package scenarios

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"orrery/internal/names"
	"orrery/workloads/diffusion"
)

// Class is a kind of image or clip that is asked for: one [[class]] of a scenario. What
// it leaves out is as its pipeline has it.
type Class struct {
	Name string `toml:"name"`
	// Share is the share of all arrivals that ask for it. What all classes leave is text;
	// 0 is for a class that is only an alternative of others.
	Share float64 `toml:"share"`
	// Deadline is when it should be done, from its arrival; 0 (default) for whenever.
	Deadline Duration `toml:"deadline"`
	// Alternatives are classes that a policy may run instead, by falling quality.
	Alternatives []string `toml:"alternatives"`

	Pipeline     string   `toml:"pipeline"` // one of diffusion.PipelineNames, or the path of a file; empty with cost
	Size         string   `toml:"size"`     // pixels, as in "1024x576"
	Frames       int      `toml:"frames"`   // of a video
	Steps        int      `toml:"steps"`    // of denoising
	Sampler      string   `toml:"sampler"`  // one of diffusion.Samplers, or the path of a schedule
	Passes       int      `toml:"passes"`   // of the denoiser at each step, 2 with guidance
	DType        string   `toml:"dtype"`    // fp16, bf16 or fp32
	DecodeAtOnce int      `toml:"decode_at_once"`
	Tile         int      `toml:"tile"`    // side in pixels of the tiles that an image is decoded in
	Methods      []string `toml:"methods"` // that save time or memory, as orrery list methods has them
	// Adapter names the low-rank adapter that it runs with, where a pool swaps them (swap of
	// [[pool]]); empty (default) for what runs with any.
	Adapter string `toml:"adapter"`

	// Cost is how long it takes where that was measured: it holds on all pools.
	Cost ClassCost `toml:"cost"`
}

// ClassCost is what a class costs where no pipeline says it. Times are seconds.
type ClassCost struct {
	// Service is how long a batch takes in all, by the number of images in it; larger
	// ones follow the line through the last two.
	Service []float64 `toml:"service"`

	Encode      float64 `toml:"encode"`       // of a batch
	EncodeImage float64 `toml:"encode_image"` // of each image in it
	Step        float64 `toml:"step"`
	StepImage   float64 `toml:"step_image"`
	Decode      float64 `toml:"decode"`
	DecodeImage float64 `toml:"decode_image"`

	WeightsGiB float64 `toml:"weights_gib"`
	ImageGiB   float64 `toml:"image_gib"` // of each image of a batch beside the weights
}

func (k *ClassCost) given() bool {
	return len(k.Service) > 0 || k.Encode+k.EncodeImage+k.Step+k.StepImage+k.Decode+k.DecodeImage > 0
}

// classes checks what is asked for, and makes the job of each class.
func (c *checker) classes(s *Scenario) {
	s.jobs = make([]*diffusion.Job, len(s.Classes))
	sum := 0.0
	for i := range s.Classes {
		k := &s.Classes[i]
		at := c.in(fmt.Sprintf("class[%d]", i))
		at.named(k.Name, i, func(j int) string { return s.Classes[j].Name })
		if !(k.Share >= 0 && k.Share <= 1) {
			at.fail("share", "is %s; want a share of arrivals, 0 to 1", floatText(k.Share))
		}
		sum += k.Share
		if k.Pipeline == "" {
			at.classCost(k)
		} else {
			s.jobs[i] = at.job(k)
		}
		for a, name := range k.Alternatives {
			at.alternative(s, i, a, name)
		}
	}
	const slack = 1e-9
	last := fmt.Sprintf("class[%d]", max(len(s.Classes)-1, 0))
	switch {
	case len(s.Classes) == 0 || len(c.d.errs) > 0:
	case sum > 1+slack:
		c.in(last).fail("share", "brings the shares of all classes to %s; want at most 1 in all", short(sum))
	case !s.text && sum < 1-slack:
		c.in(last).fail("share", "brings the shares of all classes to %s; want 1 in all, or [model] and [hardware] for the text that is asked for otherwise", short(sum))
	case s.text && sum > 1-slack:
		c.in(last).fail("share", "brings the shares of all classes to 1, which leaves none for text; want less, or [model], [hardware] and [policy] removed")
	}
}

// named refuses names that are missing, double or not fit for an override.
func (c *checker) named(name string, i int, at func(int) string) {
	switch {
	case name == "":
		c.d.errorf(c.section, "%s.name is missing; want a name of its own", c.section)
	case strings.ContainsAny(name, ". =\"'[]\n"):
		c.fail("name", "is %q; want letters, digits, - and _", name)
	default:
		for j := range i {
			if at(j) == name {
				c.fail("name", "is %q, as of another one; want each name once", name)
				return
			}
		}
	}
}

// alternative checks one of the classes that may stand for class i.
func (c *checker) alternative(s *Scenario, i, a int, name string) {
	at := s.classIndex(name)
	key := fmt.Sprintf("alternatives[%d]", a)
	switch {
	case at < 0:
		c.wrap(key, names.Unknown("class", name, s.classNames()))
	case at == i:
		c.fail(key, "is the class itself; want another one")
	case slices.Index(s.Classes[i].Alternatives, name) < a:
		c.fail(key, "is %q, as another one; want each class once", name)
	}
}

func (s *Scenario) classIndex(name string) int {
	return slices.IndexFunc(s.Classes, func(k Class) bool { return k.Name == name })
}

func (s *Scenario) classNames() []string {
	out := make([]string, len(s.Classes))
	for i := range out {
		out[i] = s.Classes[i].Name
	}
	return out
}

// classCost checks a class without a pipeline.
func (c *checker) classCost(k *Class) {
	if !k.Cost.given() {
		c.fail("pipeline", "is missing; want one of %s, or cost with the seconds that were measured", strings.Join(diffusion.PipelineNames(), ", "))
		return
	}
	for _, f := range fields(&k.Cost) {
		if f.key == "service" {
			for i, x := range k.Cost.Service {
				c.number(fmt.Sprintf("cost.service[%d]", i), x, "seconds")
			}
		} else {
			c.number("cost."+f.key, f.value.Float(), "seconds or GiB")
		}
	}
	if len(k.Cost.Service) > 0 && k.Cost.Encode+k.Cost.EncodeImage+k.Cost.Step+k.Cost.StepImage+k.Cost.Decode+k.Cost.DecodeImage > 0 {
		c.fail("cost.service", "says how long a batch takes in all; want it, or the times of its parts, not both")
	}
	for _, f := range fields(k) {
		switch f.key {
		case "size", "frames", "sampler", "passes", "dtype", "decode_at_once", "tile", "methods":
			if f.value.Kind() == reflect.Slice && f.value.Len() > 0 || f.value.Kind() != reflect.Slice && !f.value.IsZero() {
				c.fail(f.key, "has no use where cost says how long it takes; want it removed, or pipeline instead of cost")
			}
		}
	}
	if k.Steps == 0 && !c.given("steps") {
		k.Steps = 1
	}
	c.between("steps", k.Steps, 1, 10000)
}

// job returns the job of a class of one image, and fills in what the class leaves to its
// pipeline. It is nil if something is wrong.
func (c *checker) job(k *Class) *diffusion.Job {
	if k.Cost.given() {
		c.fail("cost", "does not go with a pipeline, which says how long it takes; want one of them removed")
		return nil
	}
	if strings.HasSuffix(k.Pipeline, ".toml") {
		k.Pipeline = c.path("pipeline", k.Pipeline)
	}
	p, err := diffusion.LoadPipeline(k.Pipeline)
	if err != nil {
		c.wrap("pipeline", err)
		return nil
	}
	j := p.Job()
	if c.given("size") {
		var ok bool
		if j.Width, j.Height, ok = pixels(k.Size); !ok {
			c.fail("size", `is %q; want width and height in pixels, such as "1024x576"`, k.Size)
			return nil
		}
	}
	if c.given("sampler") && strings.Contains(k.Sampler, ".") {
		k.Sampler = c.path("sampler", k.Sampler)
	}
	c.override(&j.Frames, "frames", &k.Frames)
	c.override(&j.Steps, "steps", &k.Steps)
	c.override(&j.Passes, "passes", &k.Passes)
	c.override(&j.DecodeAtOnce, "decode_at_once", &k.DecodeAtOnce)
	c.override(&j.Tile, "tile", &k.Tile)
	if c.given("sampler") {
		j.Sampler = k.Sampler
	}
	if c.given("dtype") {
		j.DType = k.DType
	}
	k.Size, k.Sampler, k.DType = fmt.Sprintf("%dx%d", j.Width, j.Height), j.Sampler, j.DType
	for i, text := range k.Methods {
		if file := diffusion.MethodFile(text); file != "" && !c.mayRead(fmt.Sprintf("methods[%d]", i), file) {
			return nil
		}
		r, err := diffusion.ParseMethod(text, p)
		if err != nil {
			c.wrap(fmt.Sprintf("methods[%d]", i), err)
			return nil
		}
		j.Method.Rewrites = append(j.Method.Rewrites, r)
	}
	if err := j.Validate(); err != nil {
		c.wrap(c.blame(j), err)
		return nil
	}
	return j
}

// override takes a class's own number of something, or tells it the pipeline's.
func (c *checker) override(to *int, key string, own *int) {
	if c.given(key) {
		*to = *own
	} else {
		*own = *to
	}
}

// blame returns the key without which a job that cannot run could, the pipeline's own if
// there is no such one.
func (c *checker) blame(j *diffusion.Job) string {
	own := j.Pipeline.Job()
	for _, t := range []struct {
		key   string
		reset func(k *diffusion.Job)
	}{
		{"size", func(k *diffusion.Job) { k.Width, k.Height = own.Width, own.Height }},
		{"frames", func(k *diffusion.Job) { k.Frames = own.Frames }},
		{"sampler", func(k *diffusion.Job) { k.Sampler = own.Sampler }},
		{"steps", func(k *diffusion.Job) { k.Steps = own.Steps }},
		{"passes", func(k *diffusion.Job) { k.Passes = own.Passes }},
		{"dtype", func(k *diffusion.Job) { k.DType = own.DType }},
		{"tile", func(k *diffusion.Job) { k.Tile = own.Tile }},
		{"decode_at_once", func(k *diffusion.Job) { k.DecodeAtOnce = own.DecodeAtOnce }},
	} {
		k := *j
		if t.reset(&k); c.given(t.key) && k.Validate() == nil {
			return t.key
		}
	}
	return "pipeline"
}

// pixels reads a size, width first.
func pixels(text string) (width, height int, ok bool) {
	w, h, ok := strings.Cut(text, "x")
	width, errW := strconv.Atoi(w)
	height, errH := strconv.Atoi(h)
	return width, height, ok && errW == nil && errH == nil
}

// measuredProgram is a class whose times stand in the scenario.
type measuredProgram struct {
	ClassCost
	steps, group int
}

func (m *measuredProgram) Steps() int { return m.steps }
func (m *measuredProgram) Group() int { return m.group }

func (m *measuredProgram) Encode(n int) time.Duration {
	return elapsed(m.ClassCost.Encode + float64(m.EncodeImage*float64(n)))
}

// Step implements [cluster.Program]. A time for all is spread over the steps evenly.
func (m *measuredProgram) Step(_, n int) time.Duration {
	if len(m.Service) > 0 {
		return elapsed(m.service(n) / float64(m.steps))
	}
	return elapsed(m.ClassCost.Step + float64(m.StepImage*float64(n)))
}

func (m *measuredProgram) Decode(n int) time.Duration {
	return elapsed(m.ClassCost.Decode + float64(m.DecodeImage*float64(n)))
}

func (m *measuredProgram) service(n int) float64 {
	last := len(m.Service)
	switch {
	case n <= last:
		return m.Service[n-1]
	case last == 1:
		return m.Service[0] * float64(n)
	}
	slope := m.Service[last-1] - m.Service[last-2]
	return m.Service[last-1] + float64(slope*float64(n-last))
}

func (m *measuredProgram) Memory(n int) int64 {
	const gib = 1 << 30
	return int64(m.WeightsGiB*gib) + int64(float64(n)*m.ImageGiB*gib)
}

func elapsed(seconds float64) time.Duration { return time.Duration(seconds*1e9 + 0.5) }
