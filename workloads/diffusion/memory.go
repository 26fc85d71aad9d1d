package diffusion

import "fmt"

// Memory follows the memory of a job. See [Footprint.Follow].
func Memory(j *Job, o MemoryOptions) (*MemoryRun, error) {
	f, err := j.Footprint()
	if err != nil {
		return nil, err
	}
	return f.Follow(o)
}

// Smallest returns the memory, in bytes, of the smallest card on which a job completes, of
// which outside lie beside the allocator. See [Footprint.Smallest].
func Smallest(j *Job, outside int64) (int64, error) {
	f, err := j.Footprint()
	if err != nil {
		return 0, err
	}
	free, err := f.Follow(MemoryOptions{Outside: outside})
	if err != nil {
		return 0, err
	}
	return f.Smallest(free), nil
}

// Footprint returns what the job puts into memory: the weights of all that its pipeline
// registers, resident from the start as eager pipelines have them, and the calls of its
// stages. What encoders and decoders return is kept; what a step predicts is not.
func (j *Job) Footprint() (*Footprint, error) {
	stages, err := j.Stages()
	if err != nil {
		return nil, err
	}
	f := &Footprint{}
	for _, w := range j.Pipeline.registered() {
		m, err := w.module(j.DType)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", j.Pipeline.Name, err)
		}
		f.Modules = append(f.Modules, m)
	}
	for i := range stages {
		s := &stages[i]
		f.Calls = append(f.Calls, Calls{Name: s.Name, Graph: s.Graph, Times: s.Times, Keep: s.Phase != Denoise})
	}
	return f, nil
}

// Weights returns the bytes of all that is loaded.
func (f *Footprint) Weights() int64 {
	var sum int64
	for i := range f.Modules {
		for _, n := range f.Modules[i].Params {
			sum += n * int64(f.Modules[i].Width)
		}
	}
	return sum
}

// registered returns the weights of a pipeline, in the order in which they are loaded.
func (p *Pipeline) registered() []Weights {
	var all []Weights
	for _, e := range p.Text {
		all = append(all, Weights{Network: e.Network, DType: e.DType})
	}
	for _, e := range p.Image {
		all = append(all, Weights{Network: e.Network, DType: e.DType})
	}
	all = append(all, Weights{Network: p.Denoiser}, Weights{Network: p.Decoder.Network, DType: p.Decoder.DType})
	return append(all, p.Loaded...)
}

// module returns the parameters that w stands for, with elements of dtype unless w says
// otherwise.
func (w *Weights) module(dtype string) (Module, error) {
	if w.DType != "" {
		dtype = w.DType
	}
	width := dtypes[dtype]
	if w.Network == "" {
		return Module{Name: w.Name, Params: []int64{w.Params}, Width: width}, nil
	}
	n, err := Load(w.Network)
	if err != nil {
		return Module{}, err
	}
	g, err := n.Graph(Call{})
	if err != nil {
		return Module{}, err
	}
	return g.Module(w.Network, width), nil
}
