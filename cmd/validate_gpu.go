package cmd

import (
	"fmt"

	"orrery/calibrate/cuda"
	"orrery/calibrate/cuda/decoder"
	"orrery/calibrate/cuda/device"
	"orrery/calibrate/cuda/driver"
	"orrery/calibrate/cuda/kernels"
	"orrery/cluster/processor"
	"orrery/scenarios"
)

// realGPU returns an executor for the model of a scenario on a GPU, the board's name in
// measurement files, and what it is in words. The GPU is given back when the process
// ends.
func realGPU(s *scenarios.Scenario, ordinal int) (e *processor.Executor, board, text string, err error) {
	model, blocks, blockTokens := s.Replica()
	if model == nil {
		return nil, "", "", fmt.Errorf("%s names no model to run; want model.name, such as llama-3.1-8b", s.Name)
	}
	if err := runnable(model); err != nil {
		return nil, "", "", err
	}
	if blockTokens != kernels.BlockTokens {
		return nil, "", "", fmt.Errorf("%s has hardware.block_tokens = %d; the GPU's kernels want %d", s.Name, blockTokens, kernels.BlockTokens)
	}
	var info device.Info
	c := decoder.Config{
		Layers: model.Layers, Hidden: model.Hidden, Heads: model.Heads, KVHeads: model.KVHeads, HeadDim: model.HeadDim, Intermediate: model.Intermediate, Vocab: model.Vocab,
		Blocks: int(blocks), MaxTokens: model.MaxLen, DType: "fp16", Seed: uint32(s.Seed),
	}
	w, err := decoder.Start(func() (device.Device, func() error, error) {
		gpu, err := driver.Open(ordinal)
		if err != nil {
			return nil, nil, err
		}
		info = gpu.Info()
		return gpu, gpu.Close, nil
	}, c)
	if err != nil {
		return nil, "", "", err
	}
	return processor.New(w, model.Vocab, s.Seed), cuda.BoardName(info.Name), fmt.Sprintf("%s with random weights in fp16, on %s", model.Name, info.Name), nil
}
