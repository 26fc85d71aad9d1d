package calibrate

import (
	"fmt"
	"slices"

	"orrery/hwmodel"
)

// The layer of GPT-3 175B that LLMCompass measured operator by operator in PyTorch on four
// A100: 8 sequences of 2048 tokens, and their decode after 1024 more (arXiv:2312.03134,
// section 6).
const (
	layerDevices = 4
	layerHidden  = 12288
	layerHeads   = 96 / layerDevices
	layerDim     = 128
	layerBatch   = 8
	layerPrompt  = 2048
	layerDecode  = layerPrompt + 1024
)

// layerTimes reads an operator of that layer.
func layerTimes(t *Table) ([]EngineRow, error) {
	phase, name := t.Text("phase"), t.Text("op")
	op, row, err := layerOperator(phase, name)
	if err != nil {
		return nil, err
	}
	row.GPU = t.Text("gpu")
	return []EngineRow{{
		GPU: row.GPU, Kind: phase + " operator", Shape: name, Part: phase, Seconds: t.Number("time_ms") * 1e-3,
		PredictOn: func(p *hwmodel.Profile) (float64, error) {
			e, err := op.Predict(p, &row)
			return e.Seconds, err
		},
	}}, nil
}

// layerOperator returns the call behind an operator of the layer.
func layerOperator(phase, name string) (*Operator, Row, error) {
	tokens, queries, keys := layerBatch*layerPrompt, layerPrompt, layerPrompt
	switch phase {
	case "prefill":
	case "decode":
		tokens, queries, keys = layerBatch, 1, layerDecode
	default:
		return nil, Row{}, fmt.Errorf("phase is %q, must be prefill or decode", phase)
	}
	const inner = 4 * layerHidden / layerDevices // of the MLP on one device
	attention := layerBatch * layerHeads
	product := func(b, m, n, k int) (*Operator, Row, error) {
		return gemmOperator, Row{DType: "fp16", Source: "llmcompass", Args: [13]float64{float64(b), float64(m), float64(n), float64(k)}}, nil
	}
	switch name {
	case "Q_K_V":
		return product(1, tokens, 3*layerHeads*layerDim, layerHidden)
	case "Q_mul_K":
		return product(attention, queries, keys, layerDim)
	case "A_mul_V":
		return product(attention, queries, layerDim, keys)
	case "Wo_proj":
		return product(1, tokens, layerHidden, layerHeads*layerDim)
	case "W1_proj":
		return product(1, tokens, inner, layerHidden)
	case "W2_proj":
		return product(1, tokens, layerHidden, inner)
	case "Softmax":
		return rownorm, Row{DType: "fp16", Source: "llmcompass", Words: [2]string{"softmax"}, Args: [13]float64{float64(attention * queries), float64(keys)}}, nil
	case "LayerNorm_MHA", "LayerNorm_FFN":
		return rownorm, Row{DType: "fp16", Source: "llmcompass", Words: [2]string{"layernorm"}, Args: [13]float64{float64(tokens), layerHidden}}, nil
	case "GeLU":
		return elementwise, Row{DType: "fp16", Source: "llmcompass", Words: [2]string{"gelu"}, Args: [13]float64{float64(tokens * inner), 1, 1}}, nil
	case "AllReduce_MHA", "AllReduce_FFN":
		return comm, Row{DType: "fp16", Source: "aic-nccl", Words: [2]string{"all_reduce", "nvswitch"}, Args: [13]float64{layerDevices, 8, float64(2 * tokens * layerHidden)}}, nil
	}
	return nil, Row{}, fmt.Errorf("op is %q, which is none of the layer's", name)
}

// layerSums adds a row for each phase: the whole layer, as the sum of its operators.
func layerSums(rows []EngineRow) []EngineRow {
	var phases []string
	for i := range rows {
		if !slices.Contains(phases, rows[i].Part) {
			phases = append(phases, rows[i].Part)
		}
	}
	for _, phase := range phases {
		var parts []EngineRow
		for i := range rows {
			if rows[i].Part == phase && rows[i].PredictOn != nil {
				parts = append(parts, rows[i])
			}
		}
		sum := parts[0]
		sum.Kind, sum.Shape, sum.Seconds = "layer", phase, 0
		for i := range parts {
			sum.Seconds += parts[i].Seconds
		}
		sum.PredictOn = func(p *hwmodel.Profile) (float64, error) {
			var t float64
			for i := range parts {
				v, err := parts[i].PredictOn(p)
				if err != nil {
					return 0, err
				}
				t += v
			}
			return t, nil
		}
		rows = append(rows, sum)
	}
	return rows
}
