package training

import (
	"slices"

	"orrery/internal/names"
	"orrery/workloads/net"
)

// Network is what is trained: its operators on a batch, and what follows from its shape.
type Network interface {
	// Train returns the operators of one forward and one backward pass over a batch.
	Train(batch int) (forward, backward []net.Op)
	Params() int64
	Tensors() int               // that the parameters are kept in
	Kept(width float64) float64 // bytes of activations of a sample that backward needs
}

// Names returns the networks that have a name.
func Names() []string {
	all := []string{
		"bert_base", "bert_large", "densenet121", "densenet161", "densenet169", "densenet201", "resnet101", "resnet152", "resnet18", "resnet34", "resnet50",
		"vgg11", "vgg13", "vgg16", "vgg19",
	}
	all = append(all, net.Others...)
	all = append(all, decoderNames()...)
	all = append(all, denoisers...)
	slices.Sort(all)
	return all
}

// LoadNetwork returns a network by name.
func LoadNetwork(name string) (Network, error) {
	if d, ok, err := loadDecoder(name, 0); ok {
		return d, err
	}
	if slices.Contains(denoisers, name) {
		return loadDenoiser(name)
	}
	n, err := net.Load(name)
	if err != nil {
		return nil, names.Unknown("network", name, Names())
	}
	return layered{n}, nil
}

// layered is a network of package net.
type layered struct{ *net.Net }

// Train implements [Network].
func (n layered) Train(batch int) (forward, backward []net.Op) { return n.Passes(batch) }
