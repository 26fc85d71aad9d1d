package net

import (
	"math"
	"testing"
)

// Parameters and multiply-adds of one image as torchvision states them.
func TestNetworksHaveTheirPublishedSize(t *testing.T) {
	for _, want := range []struct {
		name   string
		params int64
		gmacs  float64
	}{
		{"resnet18", 11689512, 1.81}, {"resnet34", 21797672, 3.66}, {"resnet50", 25557032, 4.09}, {"resnet101", 44549160, 7.80}, {"resnet152", 60192808, 11.51},
		{"vgg16_bn", 138365992, 15.47}, {"vgg16", 138357544, 15.47}, {"vgg11_bn", 132868840, 7.61}, {"densenet121", 7978856, 2.83}, {"densenet161", 28681000, 7.73},
	} {
		n, err := Load(want.name)
		if err != nil {
			t.Fatal(err)
		}
		if got := n.Params(); got != want.params {
			t.Errorf("%s has %d parameters, published are %d", want.name, got, want.params)
		}
		var macs float64
		for _, op := range n.Forward(1) {
			switch s := op.Sizes; op.Table {
			case "conv2d":
				oh := math.Floor((s[2]+2*s[9]-s[5])/s[7]) + 1
				ow := math.Floor((s[3]+2*s[10]-s[6])/s[8]) + 1
				macs += s[0] * s[4] * oh * ow * s[1] / s[11] * s[5] * s[6]
			case "gemm":
				macs += s[0] * s[1] * s[2] * s[3]
			}
		}
		if math.Abs(macs/1e9/want.gmacs-1) > 0.01 {
			t.Errorf("%s takes %.2f G multiply-adds an image, published are %.2f", want.name, macs/1e9, want.gmacs)
		}
	}
}

// Devlin et al. round to 110 M and 340 M; without the pooler, which question answering
// does not use, these are 108.9 M and 334.1 M.
func TestBERTHasItsPublishedSize(t *testing.T) {
	for name, want := range map[string]float64{"bert_base": 108.9e6, "bert_large": 334.1e6} {
		n, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := float64(n.Params()); math.Abs(got/want-1) > 1e-3 {
			t.Errorf("%s has %.1f M parameters, published are %.1f M", name, got/1e6, want/1e6)
		}
	}
}

// A training step computes each product three times, but for the first convolution,
// whose input needs no gradient.
func TestTrainingCostsThreePasses(t *testing.T) {
	n, err := Load("resnet50")
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, op := range n.Train(8, SGD) {
		if op.Table == "conv2d" {
			count[op.Word]++
		}
	}
	if count["fwd"] != 53 || count["bwd_filter"] != 53 || count["bwd_data"] != 52 {
		t.Errorf("a step of resnet50 has %v convolutions, want 53 forward, 53 for weights, 52 for inputs", count)
	}
}

func TestUnknownNetworksAreRefused(t *testing.T) {
	if _, err := Load("resnet51"); err == nil {
		t.Error("resnet51 was found")
	}
}
