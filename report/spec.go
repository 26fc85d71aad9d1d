package report

import (
	"orrery/cluster"
	"orrery/policies/batch"
)

// ReplicaSpec is what recorders must know of a replica beforehand, since the log
// does not repeat it.
type ReplicaSpec struct {
	Stages    int   // pipeline stages, at least 1
	KVBlocks  int64 // capacity of the KV cache
	MaxSeqs   int   // largest number of sequences admitted at a time, 0 if unknown
	MaxTokens int   // tokens of the largest iteration, 0 if unknown
	// BlockTokens is the number of tokens in a KV block, 0 if unknown.
	BlockTokens int
	// SpareBlocks must be free beside those that the next admission takes (a watermark),
	// and AdmitBlocks is what every admission takes, 0 if that depends on the prompt.
	SpareBlocks, AdmitBlocks int64
	// Images tells that this is a device of a pool. KVBlocks are then bytes, those that
	// the models leave for images, and MaxSeqs is the batch limit.
	Images bool
	Supply Supply // of devices, for what they cost
}

// Specs returns the specs of the replicas of a run.
func Specs(replicas []cluster.ReplicaConfig) []ReplicaSpec {
	specs := make([]ReplicaSpec, len(replicas))
	for i := range replicas {
		c := &replicas[i]
		l := c.Policy.Limits(c.MaxLen)
		s := ReplicaSpec{Stages: c.Cost.Stages(), KVBlocks: c.Blocks, MaxSeqs: l.MaxSeqs, MaxTokens: l.MaxTokens, BlockTokens: c.BlockTokens, Supply: Supply{Devices: c.Devices}}
		s.SpareBlocks = int64(l.Watermark * float64(c.Blocks))
		if l.Reserve == batch.ReserveMax {
			s.AdmitBlocks = int64((c.MaxLen + c.BlockTokens - 1) / c.BlockTokens)
		}
		specs[i] = s
	}
	return specs
}

// PoolSpecs returns the specs of the devices of pools, which follow those of the
// replicas.
func PoolSpecs(pools []cluster.PoolConfig) []ReplicaSpec {
	var specs []ReplicaSpec
	for i := range pools {
		c := &pools[i]
		for range c.Devices {
			specs = append(specs, ReplicaSpec{Stages: 1, KVBlocks: c.Room(), MaxSeqs: c.Policy.MaxBatch(), BlockTokens: 1, Images: true, Supply: Supply{Devices: 1, PricePerHour: c.Price}})
		}
	}
	return specs
}

// full tells whether a queue that stands while used blocks are held stands for want
// of memory: the free blocks would not take in a prompt of mean length, given as a
// sum over n prompts. (The log does not tell which prompt is at the head.)
func (s *ReplicaSpec) full(used, prompts, n int64) bool {
	free := s.KVBlocks - used - s.SpareBlocks
	if s.AdmitBlocks > 0 || s.BlockTokens == 0 || n == 0 {
		return free <= 0 || free < s.AdmitBlocks
	}
	return free < (prompts/n+int64(s.BlockTokens)-1)/int64(s.BlockTokens)
}
