// Package net describes networks that are no language model of the serving kind, image
// classifiers and encoders, as the operators that a framework runs one after
// another: forward, and for training backward and the optimiser's step. Operators
// are named and sized as in tables of measurements, so that a calibrated device
// prices them.
//
// Start reading at [Net].
package net

import "fmt"

// Op is a call of an operator.
type Op struct {
	Table string      // of the measurements: conv2d, gemm, elementwise, rownorm
	Word  string      // the function, or the pass of a convolution
	Sizes [13]float64 // in the order of the table's columns
	// Float32 tells that the operator works on 32-bit numbers even where the network
	// runs in 16 bits, as optimisers do.
	Float32 bool
}

// Net is a network as layers on one sample.
type Net struct {
	Name   string
	layers []layer
}

// layer is part of a network.
type layer interface {
	forward(l *list)
	backward(l *list)
	params() int64
}

// list collects operators.
type list struct {
	ops      []Op
	batch    float64
	training bool
}

func (l *list) add(table, word string, sizes ...float64) {
	op := Op{Table: table, Word: word}
	copy(op.Sizes[:], sizes)
	l.ops = append(l.ops, op)
}

// stream adds a kernel that reads and writes tensors of elems elements.
func (l *list) stream(fn string, elems, reads, writes float64) {
	l.add("elementwise", fn, elems, reads, writes)
}

// Params returns the number of parameters.
func (n *Net) Params() int64 {
	var sum int64
	for _, l := range n.layers {
		sum += l.params()
	}
	return sum
}

// Forward returns the operators of one pass over a batch for inference.
func (n *Net) Forward(batch int) []Op {
	l := &list{batch: float64(batch)}
	for _, x := range n.layers {
		x.forward(l)
	}
	return l.ops
}

// Optimiser is what updates the parameters: how many tensors of their size it reads
// and writes in 32 bits.
type Optimiser struct{ Reads, Writes float64 }

// The optimisers in use. SGD with momentum reads parameter, gradient and momentum and
// writes the first and the last; Adam has two moments. With 16-bit training both keep
// 32-bit parameters and write a 16-bit copy, which counts half.
var (
	SGD  = Optimiser{3, 2.5}
	Adam = Optimiser{4, 3.5}
)

// Train returns the operators of one training step on a batch.
func (n *Net) Train(batch int, opt Optimiser) []Op {
	l := &list{batch: float64(batch), training: true}
	for _, x := range n.layers {
		x.forward(l)
	}
	for i := len(n.layers) - 1; i >= 0; i-- {
		n.layers[i].backward(l)
	}
	l.stream("add", float64(n.Params()), opt.Reads, opt.Writes)
	l.ops[len(l.ops)-1].Float32 = true
	return l.ops
}

// Load returns a network by name: resnet18, 34, 50, 101 and 152, vgg11, 13, 16 and 19
// and the same with _bn, densenet121, 161, 169 and 201, bert_base and bert_large.
func Load(name string) (*Net, error) {
	var n *Net
	switch name {
	case "resnet18", "resnet34", "resnet50", "resnet101", "resnet152":
		n = resnet(name)
	case "vgg11", "vgg13", "vgg16", "vgg19":
		n = vgg(name, false)
	case "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn":
		n = vgg(name[:5], true)
	case "densenet121", "densenet161", "densenet169", "densenet201":
		n = densenet(name)
	case "bert_base":
		n = bert(12, 768, 384)
	case "bert_large":
		n = bert(24, 1024, 384)
	default:
		return nil, fmt.Errorf("there is no network named %q", name)
	}
	n.Name = name
	return n, nil
}
