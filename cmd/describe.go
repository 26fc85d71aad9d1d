package cmd

import (
	"fmt"

	"orrery/hwmodel"
	"orrery/workloads/llm"
	"orrery/workloads/trace"
)

// describeModel says in a line what a model needs.
func describeModel(m *llm.Model) string {
	text := fmt.Sprintf("%.1f B parameters", float64(m.Params())/1e9)
	if m.Experts > 0 {
		text += fmt.Sprintf(" (%.1f B a token, %d experts)", float64(m.ActiveParams())/1e9, m.Experts)
	}
	return text + fmt.Sprintf(", %d layers, %d/%d heads, %.0f KiB of KV cache a token, up to %d tokens",
		m.Layers, m.Heads, m.KVHeads, float64(m.KVBytesPerToken())/(1<<10), m.MaxLen)
}

// describeDevice says in a line what a device can do.
func describeDevice(d *hwmodel.Device) string {
	return fmt.Sprintf("%.0f GiB at %.0f GB/s, %.0f TFLOP/s fp16, %d SMs, joined by %s",
		float64(d.Memory)/(1<<30), d.DRAMBytes/1e9, d.FLOPs("fp16")/1e12, d.SMs, d.Group)
}

// describeEngine says in a line what an engine is.
func describeEngine(e *hwmodel.Engine) string { return e.Note }

// describeTable says in a line what the lengths of a table are.
func describeTable(q *trace.Quantiles) string {
	return fmt.Sprintf("%s: %d requests, prompt %.0f tokens on average, output %.0f", q.Title, q.Rows, q.Prompt.Mean, q.Output.Mean)
}
