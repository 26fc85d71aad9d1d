// Package net describes networks that are no language model of the serving kind, image
// classifiers and encoders, as the operators that a framework runs one after
// another: forward, and for training backward and the optimiser's step. Operators
// are named and sized as in tables of measurements, so that a calibrated device
// prices them.
//
// Start reading at [Net].
package net

import (
	"fmt"
	"slices"

	"orrery/hwmodel"
)

// Op is a call of an operator.
type Op struct {
	Table string      // of the measurements: conv2d, gemm, elementwise, rownorm; attention (samples, heads, KV heads, width of a head, tokens)
	Word  string      // the function, or the pass of a convolution
	Sizes [13]float64 // in the order of the table's columns
	Count int         // times in a row, 0 counts as 1
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

// repeat adds an operator that runs so many times in a row.
func (l *list) repeat(count int, table, word string, sizes ...float64) {
	l.add(table, word, sizes...)
	l.ops[len(l.ops)-1].Count = count
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

// Tensors returns the number of tensors that the parameters are kept in: weights and
// biases of a layer are one each.
func (n *Net) Tensors() int {
	sum := 0
	for _, l := range n.layers {
		switch x := l.(type) {
		case conv:
			sum++
			if x.bias {
				sum++
			}
		case linear, batchNorm, layerNorm:
			sum += 2
		case embedding:
			sum++
		case recurrent:
			sum += 4 * x.directions
		}
	}
	return sum
}

// Kept returns the bytes of activations that the backward pass of a sample needs, with so
// many bytes of a number: the outputs of every layer that are read again.
func (n *Net) Kept(width float64) float64 {
	elems := 0.0
	for _, x := range n.layers {
		elems += kept(x)
	}
	return elems * width
}

// kept returns the numbers that a layer keeps of a sample.
func kept(x layer) float64 {
	switch x := x.(type) {
	case conv: // its input is the output of a layer before, which is kept there
		h, w := x.out()
		return float64(x.cout * h * w)
	case batchNorm:
		return float64(x.elems)
	case linear:
		return float64(x.rows * x.out)
	case layerNorm:
		return float64(x.rows * x.cols)
	case attention: // scores after the softmax, and after the dropout with its mask of a byte
		scores := float64(x.heads * x.length * x.length)
		return 2.5 * scores
	case embedding:
		return float64(x.length * x.width)
	case recurrent:
		return float64(x.directions*x.steps*x.hidden) * float64(x.gates+2)
	case pointwise:
		if x.fn == "relu" || x.fn == "add" {
			return 0 // in place, or an input that is kept anyway
		}
		return float64(x.elems) * x.writes
	}
	return 0
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

// Passes returns the operators of a forward and of a backward pass over a batch in
// training.
func (n *Net) Passes(batch int) (forward, backward []Op) {
	l := &list{batch: float64(batch), training: true}
	for _, x := range n.layers {
		x.forward(l)
	}
	at := len(l.ops)
	for i := len(n.layers) - 1; i >= 0; i-- {
		n.layers[i].backward(l)
	}
	return l.ops[:at:at], l.ops[at:]
}

// FLOPs returns the operations of products, convolutions and attention in one call of the
// operator, a multiply-add counted as two; none of others.
func (op *Op) FLOPs() float64 {
	a := &op.Sizes
	switch op.Table {
	case "gemm":
		return 2 * a[0] * a[1] * a[2] * a[3]
	case "conv2d":
		c := hwmodel.ConvShape{N: a[0], Cin: a[1], H: a[2], W: a[3], Cout: a[4], KernelH: a[5], KernelW: a[6], StrideH: a[7], StrideW: a[8], PadH: a[9], PadW: a[10], Groups: max(a[11], 1)}
		f, _ := c.Work()
		return f
	case "attention": // two products under a causal mask, and four backward: computing the scores again does not count
		f := 2 * a[0] * a[1] * a[3] * a[4] * (a[4] + 1)
		if op.Word == "bwd" {
			f *= 2
		}
		return f
	}
	return 0
}

// Train returns the operators of one training step on a batch.
func (n *Net) Train(batch int, opt Optimiser) []Op {
	forward, backward := n.Passes(batch)
	l := &list{ops: slices.Concat(forward, backward)}
	l.stream("add", float64(n.Params()), opt.Reads, opt.Writes)
	l.ops[len(l.ops)-1].Float32 = true
	return l.ops
}

// Load returns a network by name: resnet18, 34, 50, 101 and 152, vgg11, 13, 16 and 19
// and the same with _bn, densenet121, 161, 169 and 201, bert_base and bert_large, and
// those of Others.
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
	case "resnet18_cifar":
		n = resnetCIFAR()
	case "deepspeech2":
		n = deepSpeech2()
	case "ncf":
		n = ncf(138493, 26744, 64, 256, 256, 128, 64)
	case "ncf_1m":
		n = ncf(6040, 3706, 32, 256, 128, 64, 32)
	case "lstm_lm":
		n = lstmLM()
	case "gnmt":
		n = gnmt()
	case "transformer_base":
		n = translator(6, 512, 8, 2048, 9521, 30)
	case "transformerxl_base":
		n = transformerXL(16, 512, 8, 64, 2048, 192)
	case "transformerxl_large":
		n = transformerXL(18, 1024, 16, 64, 4096, 384)
	case "yolov3":
		n = yoloV3()
	case "ssd300":
		n = ssd300()
	default:
		return nil, fmt.Errorf("there is no network named %q", name)
	}
	n.Name = name
	return n, nil
}

// Others are networks that are known by one name each.
var Others = []string{"resnet18_cifar", "deepspeech2", "ncf", "ncf_1m", "lstm_lm", "gnmt", "transformer_base", "transformerxl_base", "transformerxl_large", "yolov3", "ssd300"}
