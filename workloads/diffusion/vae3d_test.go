package diffusion

import (
	"math"
	"strings"
	"testing"
)

// Halves of autoencoders add up to their checkpoints with the other half, whose
// parameters are summed here by hand: 431 MB in fp16 and 508 MB in fp32.
func TestVideoDecodersAreHalvesOfTheirCheckpoints(t *testing.T) {
	const cogvideoxEncoder, wanEncoder = 92_215_456, 53_596_928
	if got := graphOf(t, "cogvideox_3d_decoder", Call{}).Params() + cogvideoxEncoder; got != 215_583_907 {
		t.Errorf("CogVideoX: %d parameters, want 215,583,907", got)
	}
	if got := graphOf(t, "wan21_3d_decoder", Call{}).Params() + wanEncoder; got != 126_892_531 {
		t.Errorf("Wan: %d parameters, want 126,892,531", got)
	}
}

// Each piece after the first does the same work, and the last frame is there.
func TestVideoDecodersWorkPieceByPiece(t *testing.T) {
	for _, c := range []struct {
		network      string
		frames, next int // of a clip, and of a piece
	}{{"cogvideox_3d_decoder", 9, 8}, {"wan21_3d_decoder", 13, 4}} {
		var macs [3]int64
		for i := range macs {
			frames := c.frames + i*c.next
			g := graphOf(t, c.network, Call{Frames: frames, Height: 64, Width: 64})
			macs[i] = g.MACs()
			if out := g.Tensors[g.Outputs[0]]; out.N != frames || out.C != 3 || out.H != 64 || out.W != 64 {
				t.Errorf("%s: %d frames give %+v", c.network, frames, out)
			}
		}
		if macs[2]-macs[1] != macs[1]-macs[0] || macs[1] <= macs[0] {
			t.Errorf("%s: %v multiply-adds for evenly longer clips", c.network, macs)
		}
	}
}

// A longer clip needs more memory for its own frames alone, not for its decoding: what is
// kept is let go piece by piece.
func TestVideoDecodersNeedNoMoreForLongerClips(t *testing.T) {
	for _, network := range []string{"cogvideox_3d_decoder", "wan21_3d_decoder"} {
		short, _ := peak(graphOf(t, network, Call{Frames: 25}))
		g := graphOf(t, network, Call{Frames: 49})
		long, _ := peak(g)
		// Frames are there as pieces, joined, and as they are joined.
		if more, out := long-short, g.Tensors[g.Outputs[0]]; more > out.Bytes()*3/2 {
			t.Errorf("%s: %d bytes more, where all frames take %d", network, more, out.Bytes())
		}
	}
}

// CogVideoX-5B on an H100, 49 frames of 720x480: 31.746 GiB allocated at most
// (github.com/sayakpaul/diffusers-torchao, bf16 without compilation). All weights are there,
// and the decoder is what needs most beside them.
func TestCogVideoXDecoderHoldsThePeakThatWasMeasured(t *testing.T) {
	const measured, encoder = 31.746, 92_215_456
	weights := int64(2 * encoder)
	for _, network := range []string{"cogvideox_5b", "t5_xxl_encoder", "cogvideox_3d_decoder"} {
		weights += graphOf(t, network, Call{}).Weights
	}
	step, _ := peak(graphOf(t, "cogvideox_5b", Call{Passes: 2}))
	decode, at := peak(graphOf(t, "cogvideox_3d_decoder", Call{}))
	if step >= decode || !strings.Contains(at, "norm1") {
		t.Errorf("%d bytes in a step, %d in %s", step, decode, at)
	}
	if got := float64(weights+decode) / (1 << 30); math.Abs(got/measured-1) > 0.03 {
		t.Errorf("%.2f GiB, measured %.2f", got, measured)
	}
}

// Frames of a clip are not handed to a decoder apart that takes it in pieces by itself.
func TestClipsInPiecesAreDecodedInOneCall(t *testing.T) {
	p, err := LoadPipeline("cogvideox-2b")
	if err != nil {
		t.Fatal(err)
	}
	j := p.Job()
	j.DecodeAtOnce = 1
	if err := j.Validate(); err == nil || !strings.Contains(err.Error(), "piece by piece by itself, want 0") {
		t.Errorf("error %v", err)
	}
	j.DecodeAtOnce = 0
	if err := j.Validate(); err != nil {
		t.Error(err)
	}
}
