package net

// builder follows the maps of an image network from layer to layer.
type builder struct {
	n       Net
	c, h, w int // channels and map of the last layer
}

func images() *builder { return &builder{c: 3, h: 224, w: 224} }

func (b *builder) elems() int { return b.c * b.h * b.w }

func (b *builder) push(l layer) { b.n.layers = append(b.n.layers, l) }

func (b *builder) conv(cout, k, stride, pad int, bias bool) {
	c := conv{b.c, cout, b.h, b.w, k, stride, pad, bias, len(b.n.layers) == 0}
	b.push(c)
	b.c = cout
	b.h, b.w = c.out()
}

func (b *builder) bn() { b.push(batchNorm{b.c, b.elems()}) }

func (b *builder) relu() { b.push(relu(b.elems())) }

func (b *builder) pool(k, stride, pad int) {
	before := b.elems()
	b.h, b.w = (b.h+2*pad-k)/stride+1, (b.w+2*pad-k)/stride+1
	b.push(pool(before, float64(b.elems())/float64(before)))
}

func (b *builder) convBNReLU(cout, k, stride, pad int) {
	b.conv(cout, k, stride, pad, false)
	b.bn()
	b.relu()
}

// classify pools every map to one number and maps these to classes.
func (b *builder) classify() {
	b.push(pool(b.elems(), 1/float64(b.h*b.w)))
	b.push(linear{1, b.c, 1000})
}

// resnet is that of He et al., 2016, with the stride in the 3x3 convolution as
// torchvision has it.
func resnet(name string) *Net {
	blocks := map[string][4]int{
		"resnet18": {2, 2, 2, 2}, "resnet34": {3, 4, 6, 3}, "resnet50": {3, 4, 6, 3}, "resnet101": {3, 4, 23, 3}, "resnet152": {3, 8, 36, 3},
	}[name]
	bottleneck := name != "resnet18" && name != "resnet34"
	b := images()
	b.convBNReLU(64, 7, 2, 3)
	b.pool(3, 2, 1)
	for stage, count := range blocks {
		for i := range count {
			stride := 1
			if i == 0 && stage > 0 {
				stride = 2
			}
			b.block(64<<stage, stride, bottleneck)
		}
	}
	b.classify()
	return &b.n
}

// block is a residual block. Where shapes change, a 1x1 convolution takes the input
// to the output's.
func (b *builder) block(width, stride int, bottleneck bool) {
	c, h, w := b.c, b.h, b.w
	out := width
	if bottleneck {
		out = 4 * width
		b.convBNReLU(width, 1, 1, 0)
		b.convBNReLU(width, 3, stride, 1)
		b.conv(out, 1, 1, 0, false)
	} else {
		b.convBNReLU(width, 3, stride, 1)
		b.conv(out, 3, 1, 1, false)
	}
	b.bn()
	if c != out || stride > 1 {
		b.push(conv{cin: c, cout: out, h: h, w: w, k: 1, stride: stride})
		b.bn()
	}
	b.push(add(b.elems()))
	b.relu()
}

// vgg is that of Simonyan and Zisserman, 2015.
func vgg(name string, norm bool) *Net {
	counts := map[string][5]int{"vgg11": {1, 1, 2, 2, 2}, "vgg13": {2, 2, 2, 2, 2}, "vgg16": {2, 2, 3, 3, 3}, "vgg19": {2, 2, 4, 4, 4}}[name]
	b := images()
	for stage, count := range counts {
		for range count {
			b.conv(min(64<<stage, 512), 3, 1, 1, true)
			if norm {
				b.bn()
			}
			b.relu()
		}
		b.pool(2, 2, 0)
	}
	for _, l := range [][2]int{{512 * 7 * 7, 4096}, {4096, 4096}} {
		b.push(linear{1, l[0], l[1]})
		b.push(relu(l[1]))
		b.push(pointwise{"dropout", l[1], 1, 1, 1, 1})
	}
	b.push(linear{1, 4096, 1000})
	return &b.n
}

// densenet is that of Huang et al., 2017: every layer reads all maps before it in its
// block, which are copied together.
func densenet(name string) *Net {
	s := map[string]struct {
		growth, first int
		blocks        [4]int
	}{
		"densenet121": {32, 64, [4]int{6, 12, 24, 16}}, "densenet161": {48, 96, [4]int{6, 12, 36, 24}},
		"densenet169": {32, 64, [4]int{6, 12, 32, 32}}, "densenet201": {32, 64, [4]int{6, 12, 48, 32}},
	}[name]
	b := images()
	b.convBNReLU(s.first, 7, 2, 3)
	b.pool(3, 2, 1)
	for i, count := range s.blocks {
		for range count {
			c := b.c
			b.push(pointwise{"concat", b.elems(), 1, 1, 1, 1})
			b.bn()
			b.relu()
			b.convBNReLU(4*s.growth, 1, 1, 0)
			b.conv(s.growth, 3, 1, 1, false)
			b.c += c
		}
		b.bn()
		b.relu()
		if i < 3 {
			b.conv(b.c/2, 1, 1, 0, false)
			b.pool(2, 2, 0)
		}
	}
	b.classify()
	return &b.n
}

// bert is the encoder of Devlin et al., 2019, with a head that marks the answer's start
// and end, on sequences of the given length.
func bert(depth, width, length int) *Net {
	var n Net
	push := func(ls ...layer) { n.layers = append(n.layers, ls...) }
	elems := length * width
	project := func(in, out int) { push(linear{length, in, out}, bias(length*out)) }
	dropAddNorm := func() {
		push(pointwise{"dropout", elems, 1, 1.5, 1.5, 1}, add(elems), layerNorm{length, width})
	}
	push(embedding{30522 + 512 + 2, length, width}, layerNorm{length, width})
	for range depth {
		for range 3 {
			project(width, width)
		}
		push(attention{width / 64, 64, length})
		project(width, width)
		dropAddNorm()
		project(width, 4*width)
		push(pointwise{"gelu", 4 * elems, 1, 1, 2, 1})
		project(4*width, width)
		dropAddNorm()
	}
	push(linear{length, width, 2})
	return &n
}
