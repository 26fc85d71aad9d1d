package diffusion

import (
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// public has the networks whose parameters and multiply-adds are known: parameters are
// those of the public checkpoints (rounded to a million where near is set), multiply-adds
// were calculated from the public apart from this program, and agree with published work
// where there is any (Flux: 74.39 TFLOP a step, readme of Shenyi-Z/ToCa).
var public = []struct {
	network string
	row     string // of summary.csv
	params  int64
	near    bool
	gmacs   float64 // 0: not known
	call    Call
}{
	{network: "pixart_alpha", row: "pixart_alpha_1024x1024_1pass", params: 610_856_096, gmacs: 3253.8},
	{network: "flux1_dev", row: "flux1_dev_1024x1024_512txt_1pass", params: 11_901_408_320, gmacs: 37181},
	{network: "cogvideox_2b", row: "cogvideox_2b_49f_720x480_1pass", params: 1_693_783_872, gmacs: 59992.2},
	{network: "cogvideox_5b", row: "cogvideox_5b_49f_720x480_1pass", params: 5_570_283_072, gmacs: 166088.3},
	{network: "wan21_1_3b", row: "wan21_1_3b_81f_832x480_1pass", params: 1_418_996_800, gmacs: 141490},
	{network: "wan21_14b", row: "wan21_14b_81f_1280x720_1pass", params: 14_288_491_584, gmacs: 3261644.4},
	{network: "resshift_unet", row: "resshift_unet_64x64_latent_1pass", params: 118_593_583, gmacs: 50.66},
	{network: "resshift_vq_f4_encoder", row: "resshift_vq_f4_encoder_256x256", params: 22_337_423, gmacs: 172.6},
	{network: "resshift_vq_f4_decoder", row: "resshift_vq_f4_decoder_256x256", params: 32_985_359, gmacs: 335.3},
	{network: "sd3_medium", params: 2_028_328_000},
	{network: "clip_text_l_projected", params: 123_060_480 + 768*768},
	{network: "clip_text_l", params: 123_060_480},
	{network: "clip_text_bigg", params: 694_659_840},
	{network: "clip_text_h", params: 340_387_840},
	{network: "clip_vision_h", params: 632_076_800},
	{network: "t5_xxl_encoder", params: 4_762_000_000, near: true},
	{network: "umt5_xxl_encoder", params: 5_681_000_000, near: true},
}

func TestParametersAndWorkAreThoseOfThePublicNetworks(t *testing.T) {
	for _, s := range public {
		g := graphOf(t, s.network, s.call)
		off := math.Abs(float64(g.Params() - s.params))
		if s.near && off > 500_000 || !s.near && off > 0 {
			t.Errorf("%s has %d parameters, want %d", s.network, g.Params(), s.params)
		}
		if got := float64(g.MACs()) / 1e9; s.gmacs > 0 && math.Abs(got/s.gmacs-1) > 0.001 {
			t.Errorf("%s: %.1f G multiply-adds, want %.1f", s.network, got, s.gmacs)
		}
	}
}

// The same against the table that the figures above are from.
func TestParametersAndWorkAgreeWithTheSummary(t *testing.T) {
	summary := summaryRows(t)
	for _, s := range public {
		if s.row == "" {
			continue
		}
		row := summary[s.row]
		if row == nil {
			t.Errorf("no row %s", s.row)
			continue
		}
		g := graphOf(t, s.network, s.call)
		if want := row["params"]; want != "" && s.row != "resshift_vq_f4_decoder_256x256" /* of both halves */ && strconv.FormatInt(g.Params(), 10) != want {
			t.Errorf("%s has %d parameters, want %s", s.row, g.Params(), want)
		}
		want, err := strconv.ParseFloat(row["gmacs_total"], 64)
		if err != nil {
			t.Fatal(err)
		}
		if got := float64(g.MACs()) / 1e9; math.Abs(got/want-1) > 0.001 {
			t.Errorf("%s: %.1f G multiply-adds, want %.1f", s.row, got, want)
		}
	}
}

// summaryRows returns the rows of the summary of networks by their name and column.
func summaryRows(t *testing.T) map[string]map[string]string {
	t.Helper()
	file, err := os.Open(filepath.Join("..", "..", "..", "shared", "data", "diffusion", "arch", "summary.csv"))
	if err != nil {
		t.Skip("the table of networks is not here: ", err)
	}
	defer file.Close()
	records, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]map[string]string{}
	for _, r := range records[1:] {
		row := map[string]string{}
		for i, name := range records[0] {
			row[name] = r[i]
		}
		rows[r[0]] = row
	}
	return rows
}

// Attention that writes its scores to memory does the same work as fused attention, in
// more kernels.
func TestMaterialisedScoresChangeNoWork(t *testing.T) {
	for _, s := range public {
		fused, written := graphOf(t, s.network, s.call), graphOf(t, s.network, Call{Scores: true})
		if fused.MACs() != written.MACs() || fused.Params() != written.Params() || fused.Kernels() > written.Kernels() {
			t.Errorf("%s: %d multiply-adds in %d kernels, with scores %d in %d", s.network, fused.MACs(), fused.Kernels(), written.MACs(), written.Kernels())
		}
	}
}

func TestImpossibleVideosAndPromptsAreRefused(t *testing.T) {
	for _, c := range []struct {
		network string
		call    Call
		want    string
	}{
		{"flux1_dev", Call{Width: 1000, Height: 1024}, "flux1_dev: 1000x1024: want sides that are multiples of 16"},
		{"sd3_medium", Call{Frames: 8}, "sd3_medium: 8 frames: want 1, for it makes images"},
		{"sd3_medium", Call{Width: 4096, Height: 1024}, "sd3_medium: 4096x1024: want no side above 3072"},
		{"resshift_unet", Call{Width: 256, Height: 320}, "resshift_unet: 256x320: want sides that are multiples of 256"},
		{"cogvideox_2b", Call{Frames: 50}, "cogvideox_2b: 50 frames: want one and a multiple of 4, such as 49"},
		{"wan21_14b", Call{Frames: 80}, "wan21_14b: 80 frames: want one and a multiple of 4, such as 81"},
		{"clip_text_l", Call{Text: 78}, "clip_text_l: 78 tokens: want from 1 to 77"},
		{"clip_vision_h", Call{Width: 336, Height: 336}, "clip_vision_h: 336x336: want 224x224"},
	} {
		n, err := Load(c.network)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Graph(c.call); err == nil || err.Error() != c.want {
			t.Errorf("%s %+v gives %v, want %s", c.network, c.call, err, c.want)
		}
	}
}

func BenchmarkTransformers(b *testing.B) {
	for _, name := range []string{"pixart_alpha", "flux1_dev", "cogvideox_5b", "wan21_14b", "t5_xxl_encoder", "resshift_unet", "wan21_3d_decoder"} {
		n, err := Load(name)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := n.Graph(Call{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
