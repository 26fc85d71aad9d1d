package diffusion

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ResShift's UNet block by block, against a table calculated apart from this program.
func TestResShiftAgreesBlockByBlock(t *testing.T) {
	table := filepath.Join("..", "..", "..", "shared", "data", "diffusion", "arch", "layers", "resshift_unet_64x64latent_1image_1pass.csv")
	if _, err := os.Stat(table); err != nil {
		t.Skipf("the layer tables are not there: %v", err)
	}
	rows := readLayers(t, table)
	blocks := blocksOf(graphOf(t, "resshift_unet", Call{}))
	if len(blocks) != len(rows) {
		t.Fatalf("%d blocks, the table has %d", len(blocks), len(rows))
	}
	for i, r := range rows {
		b, params := blocks[i], r.int(t, "params")
		if r.value["block"] == "out" {
			params += 2 * 160 // the table leaves the last norm out
		}
		if b.params != params || b.macs != r.int(t, "macs") {
			t.Errorf("%s has %d parameters and %d multiply-adds, want %d and %d of %s", b.name, b.params, b.macs, params, r.int(t, "macs"), r.value["block"])
		}
	}
}

type block struct {
	name         string
	params, macs int64
}

// blocksOf sums operators up that have weights, by the block that their name begins with;
// the time embedding is no block.
func blocksOf(g *Graph) []block {
	var blocks []block
	for _, op := range g.Ops {
		if op.Params == 0 && op.MACs == 0 {
			continue
		}
		name := blockName(op.Name)
		if name == "time" {
			continue
		}
		if len(blocks) == 0 || blocks[len(blocks)-1].name != name {
			blocks = append(blocks, block{name: name})
		}
		b := &blocks[len(blocks)-1]
		b.params += op.Params
		b.macs += op.MACs
	}
	return blocks
}

func blockName(op string) string {
	parts := strings.Split(op, "/")
	switch parts[0] {
	case "time", "out", "conv_in":
		return parts[0]
	}
	return parts[0] + "/" + parts[1]
}

// A step of ResShift launches about as many kernels whatever the size: that is why small
// images take as long as larger ones.
func TestResShiftLaunchesAreThoseOfItsBlocks(t *testing.T) {
	small, large := graphOf(t, "resshift_unet", Call{}), graphOf(t, "resshift_unet", Call{Height: 512, Width: 512, Batch: 4})
	if small.Kernels() != large.Kernels() {
		t.Errorf("%d kernels at 256x256, %d at 512x512", small.Kernels(), large.Kernels())
	}
	// 18 Swin blocks: 21 operators each, 4 more where windows are shifted (6 blocks), the
	// sum with the mask and the 18 operators that make it.
	var swin int
	for _, op := range small.Ops {
		if strings.Contains(op.Name, "swin") && strings.Contains(op.Name, "/block") {
			swin += op.Kernels
		}
	}
	if want := 18*(21+1+18) + 4*6; swin != want {
		t.Errorf("%d kernels in Swin blocks, want %d", swin, want)
	}
}

// Weights of both halves of the autoencoder, as published in the ProSR paper: 55.32 M.
func TestResShiftAutoencoderIsWhole(t *testing.T) {
	halves := graphOf(t, "resshift_vq_f4_encoder", Call{}).Params() + graphOf(t, "resshift_vq_f4_decoder", Call{}).Params()
	if halves != 55_322_782 {
		t.Errorf("%d parameters, want 55,322,782", halves)
	}
}
