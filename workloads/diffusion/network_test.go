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
		{"base = \"x\"", "networks/x.toml: base leads in a circle"},
		{"base = \"y\"", "networks/y.toml: there is no such file"},
	} {
		files := fstest.MapFS{"networks/x.toml": {Data: []byte(c.text)}}
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
		{"vae_kl_f8_decoder", Call{Batch: -1}, "vae_kl_f8_decoder: batch is -1: want at least 1"},
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
