package net

// resnetCIFAR is ResNet-18 for images of 32 x 32, as much-copied code for CIFAR-10 has it: a
// first convolution of 3x3 and no pooling.
func resnetCIFAR() *Net {
	b := &builder{c: 3, h: 32, w: 32}
	b.convBNReLU(64, 3, 1, 1)
	for stage := range 4 {
		for i := range 2 {
			stride := 1
			if i == 0 && stage > 0 {
				stride = 2
			}
			b.block(64<<stage, stride, false)
		}
	}
	b.push(pool(b.elems(), 1/float64(b.h*b.w)))
	b.push(linear{1, b.c, 10})
	return &b.n
}

// deepSpeech2 is after Amodei and others, 2016, in the sizes of deepspeech.pytorch: two
// convolutions over spectrograms of 161 bands, five bidirectional LSTM layers of 1024, on five
// seconds of speech at a hundred frames a second.
func deepSpeech2() *Net {
	const frames, hidden, depth = 500, 1024, 5
	b := &builder{c: 1, h: 161, w: frames}
	push := func(c conv) {
		b.push(c)
		b.c = c.cout
		b.h, b.w = c.out()
		b.bn()
		b.relu()
	}
	// Filters are 41x11 and 21x11; squares of like area stand for them.
	push(conv{cin: 1, cout: 32, h: b.h, w: b.w, k: 21, stride: 2, pad: 10, first: true})
	push(conv{cin: 32, cout: 32, h: b.h, w: b.w, k: 15, stride: 1, pad: 7})
	steps, in := b.w, b.c*b.h/2 // the second one halves the bands as well
	for range depth {
		b.push(recurrent{steps, in, hidden, 4, 2})
		in = hidden // directions are added
		b.push(pointwise{"add", steps * hidden, 2, 1, 1, 2})
		b.push(layerNorm{steps, hidden})
	}
	b.push(linear{steps, hidden, 29})
	return &b.n
}

// ncf is neural collaborative filtering (He and others, 2017) with factors of the given width
// and an MLP of the given widths. On MovieLens 20M in the sizes of MLPerf 0.5 these
// are 64, and 256, 256, 128 and 64; in AdaptDL's example on MovieLens 1M 32, and 256,
// 128, 64 and 32.
func ncf(users, items, factors, wide int, mlp ...int) *Net {
	var n Net
	n.layers = append(n.layers,
		embedding{users, 1, factors}, embedding{items, 1, factors}, pointwise{"mul", factors, 2, 1, 3, 2},
		embedding{users, 1, wide / 2}, embedding{items, 1, wide / 2}, pointwise{"concat", wide, 1, 1, 1, 1})
	in := wide
	for _, out := range mlp {
		n.layers = append(n.layers, linear{1, in, out}, bias(out), relu(out))
		in = out
	}
	n.layers = append(n.layers, pointwise{"concat", factors + in, 1, 1, 1, 1}, linear{1, factors + in, 1}, pointwise{"sigmoid", 1, 1, 1, 2, 1})
	return &n
}

// lstmLM is the word language model of PyTorch's examples on WikiText-2: two LSTM layers of
// 200 over 35 words, 33,278 words. A sample is a sequence.
func lstmLM() *Net {
	const words, width, length = 33278, 200, 35
	var n Net
	n.layers = append(n.layers, embedding{words, length, width}, pointwise{"dropout", length * width, 1, 1.5, 1.5, 1})
	for range 2 {
		n.layers = append(n.layers, recurrent{length, width, width, 4, 1}, pointwise{"dropout", length * width, 1, 1.5, 1.5, 1})
	}
	n.layers = append(n.layers, linear{length, width, words}, bias(length*words), pointwise{"exp", length * words, 2, 1, 2, 1})
	return &n
}

// gnmt is after Wu and others, 2016, in the sizes of MLPerf: four LSTM layers of 1024 in the
// encoder, the first in both directions, and four in the decoder with attention, on
// sentences of 27 tokens, 32,000 words. A sample is a pair of sentences.
func gnmt() *Net {
	const words, width, length = 32320, 1024, 27
	var n Net
	push := func(ls ...layer) { n.layers = append(n.layers, ls...) }
	drop := pointwise{"dropout", length * width, 1, 1.5, 1.5, 1}
	push(embedding{words, length, width}, drop, recurrent{length, width, width, 4, 2}, drop, recurrent{length, 2 * width, width, 4, 1}, drop)
	for range 2 {
		push(recurrent{length, width, width, 4, 1}, drop, add(length*width))
	}
	push(embedding{0, length, width}, drop, recurrent{length, width, width, 4, 1})
	push(linear{length, width, width}, linear{length, width, width}, additiveAttention{width, length})
	for i := range 3 {
		push(recurrent{length, 2 * width, width, 4, 1}, drop)
		if i > 0 {
			push(add(length * width))
		}
	}
	push(linear{length, width, words}, bias(length*words), smoothedLoss(length*words))
	return &n
}

// smoothedLoss is cross entropy with smoothed labels: log softmax, a look-up of the answers, and
// the mean of all; backwards a zeroed tensor for the look-up, the mean's gradient added to it, and
// the softmax's.
func smoothedLoss(elems int) pointwise { return pointwise{"exp", elems, 2, 1, 3, 3} }

// additiveAttention is Bahdanau's: every query and every key are added, in all their dimensions, and
// a vector is multiplied with the hyperbolic tangent of that. As GNMT's PyTorch code normalises
// it, a bias is added in a pass of its own.
type additiveAttention struct{ dim, length int }

func (a additiveAttention) params() int64 { return 2 * int64(a.dim) }

func (a additiveAttention) forward(l *list) {
	b, n, d := l.batch, float64(a.length), float64(a.dim)
	pairs := b * n * n * d
	l.stream("add", pairs, 0, 1) // of all pairs; what is read is smaller by the length
	l.stream("add", pairs, 1, 1)
	l.stream("exp", pairs, 1, 1)
	l.stream("add", pairs, 1, 0) // the product with the vector
	l.add("rownorm", "softmax", b*n, n)
	l.add("gemm", "", b, n, d, n)
}

func (a additiveAttention) backward(l *list) {
	b, n, d := l.batch, float64(a.length), float64(a.dim)
	pairs := b * n * n * d
	l.add("gemm", "", b, n, n, d)
	l.add("gemm", "", b, n, d, n)
	l.stream("mul", pairs, 0, 1) // each pair's gradient times the vector
	l.stream("add", pairs, 1, 0) // the vector's own gradient
	l.stream("mul", pairs, 2, 1) // through the tangent
	l.stream("add", pairs, 1, 0) // sums for the bias, the queries and the keys
	l.stream("add", pairs, 1, 0)
	l.stream("add", pairs, 1, 0)
}

// transformerLayer is one layer of self-attention, or of attention over another sequence as
// well, and an MLP.
func transformerLayer(n *Net, width, heads, hidden, length, attentions int, activation string) {
	push := func(ls ...layer) { n.layers = append(n.layers, ls...) }
	elems := length * width
	project := func(in, out int) { push(linear{length, in, out}, bias(length*out)) }
	dropAddNorm := func() {
		push(pointwise{"dropout", elems, 1, 1.5, 1.5, 1}, add(elems), layerNorm{length, width})
	}
	for range attentions {
		for range 3 {
			project(width, width)
		}
		push(attention{heads, width / heads, length})
		project(width, width)
		dropAddNorm()
	}
	project(width, hidden)
	push(pointwise{activation, length * hidden, 1, 1, 2, 1})
	project(hidden, width)
	dropAddNorm()
}

// translator is the base Transformer of Vaswani and others, 2017. A sample is a pair of
// sentences of the given length.
func translator(depth, width, heads, hidden, words, length int) *Net {
	var n Net
	n.layers = append(n.layers, embedding{words, length, width})
	for range depth {
		transformerLayer(&n, width, heads, hidden, length, 1, "relu")
	}
	n.layers = append(n.layers, embedding{words, length, width})
	for range depth {
		transformerLayer(&n, width, heads, hidden, length, 2, "relu")
	}
	n.layers = append(n.layers, linear{length, width, words}, pointwise{"exp", length * words, 2, 1, 2, 1})
	return &n
}

// transformerXL is after Dai and others, 2019, on WikiText-103: attention over the segment
// and as long a memory, with relative positions, 267,735 words in an adaptive softmax whose
// head of 20,000 does most of the work.
func transformerXL(depth, width, heads, head, hidden, length int) *Net {
	var n Net
	push := func(ls ...layer) { n.layers = append(n.layers, ls...) }
	elems, inner := length*width, heads*head
	push(embedding{267735, length, width}, pointwise{"dropout", elems, 1, 1.5, 1.5, 1})
	for range depth {
		push(linear{2 * length, width, 3 * inner}, linear{2 * length, width, inner}) // of segment and memory, and of positions
		push(longAttention{heads, head, length, 2 * length}, longAttention{heads, head, length, 2 * length})
		push(pointwise{"add", heads * length * 2 * length, 2, 1, 1, 1}) // positions are shifted, and added
		push(linear{length, inner, width}, pointwise{"dropout", elems, 1, 1.5, 1.5, 1}, add(elems), layerNorm{length, width})
		push(linear{length, width, hidden}, bias(length*hidden), relu(length*hidden), pointwise{"dropout", length * hidden, 1, 1.5, 1.5, 1})
		push(linear{length, hidden, width}, bias(elems), pointwise{"dropout", elems, 1, 1.5, 1.5, 1}, add(elems), layerNorm{length, width})
	}
	const frequent = 20000
	push(linear{length, width, frequent}, pointwise{"exp", length * frequent, 2, 1, 2, 1})
	return &n
}

// longAttention is half of an attention: products of queries with more keys than there are
// queries, and a softmax. Two of them stand for scores of contents and positions, and for the
// values, whose product is as large.
type longAttention struct{ heads, dim, queries, keys int }

func (a longAttention) params() int64 { return 0 }

func (a longAttention) forward(l *list) {
	b, q, k, d := l.batch*float64(a.heads), float64(a.queries), float64(a.keys), float64(a.dim)
	l.add("gemm", "", b, q, k, d)
	l.stream("add", b*q*k, 1, 1)
	l.add("rownorm", "softmax", b*q, k)
	l.stream("dropout", b*q*k, 1, 1.5)
}

func (a longAttention) backward(l *list) {
	b, q, k, d := l.batch*float64(a.heads), float64(a.queries), float64(a.keys), float64(a.dim)
	l.stream("dropout", b*q*k, 1.5, 1)
	l.stream("mul", b*q*k, 2, 1)
	l.add("gemm", "", b, q, d, k)
	l.add("gemm", "", b, k, d, q)
}

// yoloV3 is Darknet-53 with three heads (Redmon and Farhadi, 2018) on images of 416 x 416, as
// a network to check with: 62 million parameters, 33 billion multiply-adds.
func yoloV3() *Net {
	b := &builder{c: 3, h: 416, w: 416}
	b.convBNReLU(32, 3, 1, 1)
	for stage, count := range []int{1, 2, 8, 8, 4} {
		b.convBNReLU(64<<stage, 3, 2, 1)
		for range count {
			b.convBNReLU(32<<stage, 1, 1, 0)
			b.convBNReLU(64<<stage, 3, 1, 1)
			b.push(add(b.elems()))
		}
	}
	for i, width := range []int{512, 256, 128} {
		for k := range 3 {
			b.convBNReLU(width, 1, 1, 0)
			if k < 2 {
				b.convBNReLU(2*width, 3, 1, 1)
			}
		}
		before := b.c
		b.convBNReLU(2*width, 3, 1, 1)
		b.conv(255, 1, 1, 0, true)
		if i == 2 {
			break
		}
		b.c = before
		b.convBNReLU(width/2, 1, 1, 0)
		b.h, b.w = 2*b.h, 2*b.w
		b.c = width/2 + width // beside the maps of that size on the way down
		b.push(pointwise{"concat", b.elems(), 1, 1, 1, 1})
	}
	return &b.n
}

// ssd300 is SSD (Liu and others, 2016) on ResNet-50's first three stages with a stride of one in
// the last, as in NVIDIA's examples.
func ssd300() *Net {
	b := &builder{c: 3, h: 300, w: 300}
	b.convBNReLU(64, 7, 2, 3)
	b.pool(3, 2, 1)
	for stage, count := range []int{3, 4, 6} {
		for i := range count {
			stride := 1
			if i == 0 && stage == 1 {
				stride = 2
			}
			b.block(64<<stage, stride, true)
		}
	}
	head := func(boxes int) {
		c, h, w := b.c, b.h, b.w
		b.push(conv{cin: c, cout: 4 * boxes, h: h, w: w, k: 3, stride: 1, pad: 1, bias: true})
		b.push(conv{cin: c, cout: 81 * boxes, h: h, w: w, k: 3, stride: 1, pad: 1, bias: true})
	}
	head(4)
	for _, x := range []struct{ inner, out, stride, pad, boxes int }{{256, 512, 2, 1, 6}, {256, 512, 2, 1, 6}, {128, 256, 2, 1, 6}, {128, 256, 1, 0, 4}, {128, 256, 1, 0, 4}} {
		b.convBNReLU(x.inner, 1, 1, 0)
		b.convBNReLU(x.out, 3, x.stride, x.pad)
		head(x.boxes)
	}
	return &b.n
}
