package report

import (
	"bytes"
	"strings"
	"testing"

	"orrery/hwmodel"
	"orrery/report/chart"
	"orrery/workloads/diffusion"
)

// twoStages is a step and a decoder that are two convolutions each, the decoder's on
// Images 16 times as large.
func twoStages(t *testing.T) *Memory {
	t.Helper()
	graph := func(name string, size int) *diffusion.Graph {
		b := diffusion.NewBuilder(name, 2)
		x := b.Input("x", 1, 64, size, size)
		x = b.Conv("conv1", x, 64, 3, 1)
		return b.Done(b.Conv("conv2", x, 32, 3, 1))
	}
	f := &diffusion.Footprint{
		Modules: []diffusion.Module{{Name: "both", Params: []int64{32 << 20}, Width: 2}},
		Calls: []diffusion.Calls{
			{Name: "step", Graph: graph("step", 256), Times: 10},
			{Name: "decoder", Graph: graph("decoder", 1024), Times: 1, Keep: true},
		},
	}
	run, err := f.Follow(diffusion.MemoryOptions{Outside: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	boards := f.Boards([]*hwmodel.Device{
		{Name: "large", Memory: 8 << 30}, {Name: "medium", Memory: 1<<30 + 512<<20}, {Name: "small", Memory: 1<<30 + 128<<20},
	}, run)
	boards[2].Instead = "a smaller image"
	return NewMemory("two-stages", "1024x1024", run, f.Smallest(run), boards)
}

// What is printed, by figures that can be worked out by hand. Weights are 64 MiB. The
// decoder's tensors are of 128 MiB, its first workspace is of 180: the second convolution's
// result of 64 MiB comes out of that, so that its workspace of 135 needs a new segment. Least
// is 384 MiB: weights, result, operand, and the decoder's input, which its caller still holds.
func TestMemoryText(t *testing.T) {
	got := twoStages(t).Text()
	want := `two-stages · 1024x1024

stage    calls  live      allocated  reserved  operator at the peaks
step     10     0.09 GiB  0.09 GiB   0.09 GiB  conv2 (live), conv1 (reserved)
decoder  1      0.51 GiB  0.51 GiB   0.65 GiB  conv2
peak            0.51 GiB  0.51 GiB   0.65 GiB  decoder: conv2

weights 0.06 GiB; outside the allocator 1.00 GiB
device peak 1.65 GiB, as the driver reports it on a card with room for all that is cached
smallest card that completes 1.38 GiB

board   memory    held      
large   8.00 GiB  1.65 GiB  runs
medium  1.50 GiB  1.49 GiB  runs only after freeing cached blocks, 2 times, with 1 convolution without workspace
small   1.12 GiB  -         does not run: decoder: x: out of memory: asked for 128.0 MiB with 64.0 MiB allocated and 64.0 MiB reserved of 128.0 MiB; would run with a smaller image
`
	if got != want {
		t.Errorf("got:\n%s", got)
	}
}

// One picture of the run and one of the stage with the peak, which are different.
func TestMemoryPlots(t *testing.T) {
	m := twoStages(t)
	plots := m.Plots()
	var drawn []string
	for _, p := range plots {
		var b bytes.Buffer
		if err := p.Chart.Render(&b, chart.SVG); err != nil {
			t.Fatal(err)
		}
		drawn = append(drawn, b.String())
	}
	if len(drawn) != 2 || !strings.Contains(drawn[0], "step, 2 of 10 calls") || strings.Contains(drawn[1], "step, 2") {
		t.Errorf("%d plots", len(drawn))
	}
	for i, svg := range drawn {
		if !strings.Contains(svg, "decoder") || !strings.Contains(svg, "reserved") || !strings.Contains(svg, "GiB") {
			t.Errorf("plot %d lacks names", i)
		}
	}
}
