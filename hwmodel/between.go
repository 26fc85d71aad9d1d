package hwmodel

import "math"

// Between returns the seconds of groups independent calls in one launch, in each of which
// so many queries attend to so many keys that come from elsewhere, without a mask: the
// attention of image models, to positions, frames or a text.
func (c *PrefillCost) Between(groups, queries, keys float64) float64 {
	k := c.k
	blocks := math.Ceil(queries*c.rows/k.Rows) * groups * c.heads / c.sms
	longest := math.Ceil(keys/k.Span) * k.Span
	even := blocks * (k.Block + float64(c.walk*longest))
	stream := float64(c.kv*groups*keys) + float64(c.query*groups*queries)
	t := c.spread(blocks, even, longest, stream)
	t *= c.residual.at(queries, blocks, max(keys-queries, 0)+1)
	moved := float64(c.floorKV*groups*keys) + float64(c.floorQuery*groups*queries)
	return max(t, c.floorPair*groups*queries*keys, moved)
}
