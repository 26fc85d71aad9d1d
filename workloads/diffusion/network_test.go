package diffusion

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestNetworksOfTheProgramBuildTheirDefaultCall(t *testing.T) {
	for _, name := range Names() {
		n, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []Call{{}, {DType: "fp32", Batch: 2}, {Scores: true}} {
			g, err := n.Graph(c)
			if err != nil {
				t.Fatal(err)
			}
			if g.Name != name || len(g.Outputs) == 0 || g.Kernels() == 0 {
				t.Errorf("%s: graph %q has %d outputs and %d kernels", name, g.Name, len(g.Outputs), g.Kernels())
			}
		}
	}
}

func TestBadDescriptorsAreRefusedInOneLine(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"kind = \"vae_decod\"", "networks/x.toml: there is no kind named \"vae_decod\"; did you mean"},
		{"kind = \"vae_decode\"\nlatent = 4\nchannels = [100]\nresnets = 1", "networks/x.toml: channels: want multiples of 32"},
		{"kind = \"vae_decode\"\nlatents = 4", "networks/x.toml: unknown key \"latents\""},
		{"kind = \"vae_decode\"\n[default]\nheigth = 4", "networks/x.toml: unknown key \"default.heigth\""},
		{"kind = \"vae_decode\"\nlatent = ", "networks/x.toml:2: "},
		{"base = \"sd15_unet\"\nheads = [7, 8, 8, 8]", "networks/x.toml: 7 heads over 320 channels: want a divisor"},
		{"base = \"sd15_unet\"\nblock_channels = [320, 640]", "networks/x.toml: transformer_depth and heads have 4 and 4 levels: want 2, as block_channels"},
		{"base = \"ssd1b_unet\"\nup_transformer_depth = [[4, 4], [2, 1, 1], [0, 0, 0]]", "networks/x.toml: up_transformer_depth has [4 4]: want 3, none negative"},
		{"base = \"animatediff_unet\"\nmax_frames = 0", "networks/x.toml: motion_heads and max_frames: want at least 1"},
		{"base = \"animatediff_unet\"\nmid_short = true", "networks/x.toml: mid_short and mid_transformer_depth 0 are for images alone"},
		{"base = \"x\"", "networks/x.toml: base leads in a circle"},
		{"base = \"y\"", "networks/y.toml: there is no such file"},
	} {
		files := fstest.MapFS{"networks/x.toml": {Data: []byte(c.text)}}
		for _, base := range []string{"sd15_unet", "sdxl_unet", "ssd1b_unet", "animatediff_unet"} {
			data, err := networkFiles.ReadFile("networks/" + base + ".toml")
			if err != nil {
				t.Fatal(err)
			}
			files["networks/"+base+".toml"] = &fstest.MapFile{Data: data}
		}
		_, err := parseNetwork(files, "x")
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q gives %v, want %s...", c.text, err, c.want)
		}
	}
}

func TestImpossibleCallsAreRefusedInOneLine(t *testing.T) {
	for _, c := range []struct {
		network string
		call    Call
		want    string
	}{
		{"vae_kl_f8_decoder", Call{Width: 512, Height: 500}, "vae_kl_f8_decoder: 512x500: want sides that are multiples of 8"},
		{"vae_kl_f8_decoder", Call{Width: -8, Height: 512}, "vae_kl_f8_decoder: -8x512 pixels, 0 tokens: want none negative"},
		{"sd15_unet", Call{Width: 512, Height: 500}, "sd15_unet: 512x500: want sides that are multiples of 8"},
		{"svd_unet", Call{Width: 1000, Height: 576}, "svd_unet: 1000x576: want sides that are multiples of 64"},
		{"sdxl_unet", Call{Frames: 16}, "sdxl_unet: 16 frames: want 1, for it makes images"},
		{"animatediff_unet", Call{Frames: 33}, "animatediff_unet: 33 frames: want at most 32, the positions that its motion modules know"},
		{"vae_kl_f8_decoder", Call{Batch: -1}, "vae_kl_f8_decoder: batch is -1: want at least 1"},
		{"sd15_unet", Call{Batch: 1 << 40, Frames: 1}, "sd15_unet: batch 1099511627776, 1 frames, 2 passes: want at most 16384 images in all"},
		{"sd15_unet", Call{Width: 1 << 20}, "sd15_unet: 1048576x512: want sides of at most 32768"},
		{"vae_kl_f8_decoder", Call{DType: "int8"}, "vae_kl_f8_decoder: dtype \"int8\": want fp16, bf16 or fp32"},
	} {
		n, err := Load(c.network)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Graph(c.call); err == nil || err.Error() != c.want {
			t.Errorf("%s %+v gives %v, want %s", c.network, c.call, err, c.want)
		}
	}
	if _, err := Load("sdxl_vae_dekoder"); err == nil {
		t.Error("a network that does not exist was loaded")
	}
}

// TestSidesThatDoNotHalveEvenly has a latent of 65 x 63, which the way out must meet again
// at every level.
func TestSidesThatDoNotHalveEvenly(t *testing.T) {
	g := graphOf(t, "sd15_unet", Call{Width: 520, Height: 504})
	out := g.Tensors[g.Outputs[0]]
	if out.H != 63 || out.W != 65 || out.C != 4 || out.N != 2 {
		t.Errorf("the output is %dx%dx%dx%d, want 2x4x63x65", out.N, out.C, out.H, out.W)
	}
}

// TestMotionModulesOfTheVersions has the published counts of their parameters.
func TestMotionModulesOfTheVersions(t *testing.T) {
	base := graphOf(t, "sd15_unet", Call{}).Params()
	for name, want := range map[string]int64{"animatediff_unet": 453209280, "animatediff_v3_unet": 417137600} {
		if got := graphOf(t, name, Call{}).Params() - base; got != want {
			t.Errorf("%s has %d parameters in motion modules, want %d", name, got, want)
		}
	}
}

// TestDistilledXLHasItsPublishedSize: "1.3 billion parameters" (blog.segmind.com), and the
// transformer blocks of its configuration.
func TestDistilledXLHasItsPublishedSize(t *testing.T) {
	for name, want := range map[string]int{"sdxl_unet": 70, "ssd1b_unet": 34} {
		g := graphOf(t, name, Call{})
		blocks := 0
		for i := range g.Ops {
			if strings.HasSuffix(g.Ops[i].Name, "/attn1/sdpa") {
				blocks++
			}
		}
		if blocks != want {
			t.Errorf("%s has %d transformer blocks, want %d", name, blocks, want)
		}
	}
	if n := float64(graphOf(t, "ssd1b_unet", Call{}).Params()) / 1e9; n < 1.25 || n > 1.35 {
		t.Errorf("ssd1b_unet has %.3f billion parameters, want 1.3", n)
	}
}

// TestWhatTheTablesLeaveOut has the kernels of an eager run that the layer tables do not
// count: two copies around each of 16 blocks over frames; a copy and two sums in each of
// 21 motion modules; padding before each of three convolutions.
func TestWhatTheTablesLeaveOut(t *testing.T) {
	for name, want := range map[string]int{"svd_unet": 1459 + 16*2, "animatediff_unet": 1169 + 21*3, "vae_kl_f8_encoder": 97 + 3} {
		if got := graphOf(t, name, Call{}).Kernels(); got != want {
			t.Errorf("%s: %d kernels, want %d", name, got, want)
		}
	}
}
