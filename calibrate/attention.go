package calibrate

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"orrery/hwmodel"
)

// attentionEngine returns the library whose attention kernels a source timed.
func attentionEngine(source string) string {
	switch source {
	case "vidur":
		return "fa2-gqa" // FlashAttention-2 of early 2024, tiles shared by the heads of a group in decode
	case "vidur-a30":
		return "flashinfer"
	case "llmservingsim":
		return "vllm"
	}
	return EngineOf(source)
}

// attentionSet is what rows of attention are grouped by: each set has constants of its
// own.
type attentionSet struct {
	hwmodel.AttentionKey
	Variant bool // causal, or with query heads in groups
}

func attentionSetOf(r *Row, variant bool) attentionSet {
	key := hwmodel.Key{Engine: attentionEngine(r.Source), DType: r.DType}
	return attentionSet{hwmodel.AttentionKey{Key: key, KV: r.Words[0], Dim: int(r.Args[3])}, variant}
}

// name is how a set is called in reports, with the word for its variant.
func (s *attentionSet) name(with, without string) string {
	words := []string{s.Engine, s.DType}
	if s.KV != s.DType {
		words = append(words, "cache "+s.KV)
	}
	if s.Variant {
		words = append(words, with)
	} else {
		words = append(words, without)
	}
	return strings.Join(append(words, fmt.Sprint(s.Dim)), " ")
}

// attentionSets groups rows by set, in order.
func attentionSets(rows []Row, of func(r *Row) attentionSet) ([]attentionSet, map[attentionSet][]Row) {
	groups := map[attentionSet][]Row{}
	for i := range rows {
		s := of(&rows[i])
		groups[s] = append(groups[s], rows[i])
	}
	var sets []attentionSet
	for s := range groups {
		sets = append(sets, s)
	}
	slices.SortFunc(sets, func(a, b attentionSet) int {
		return cmp.Or(strings.Compare(a.Engine, b.Engine), strings.Compare(a.DType, b.DType), strings.Compare(a.KV, b.KV),
			cmp.Compare(a.Dim, b.Dim), compareBools(b.Variant, a.Variant))
	})
	return sets, groups
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// attentionHeads returns the heads of a row of the prefill or the decode table.
func attentionHeads(r *Row) hwmodel.Heads {
	return hwmodel.Heads{Query: int(r.Args[1]), KV: int(r.Args[2]), Dim: int(r.Args[3]), KVBytes: cacheBytes(r.Words[0])}
}

// cacheBytes returns the bytes of one element of a KV cache of the given dtype.
func cacheBytes(dtype string) int {
	w, _ := hwmodel.Width(dtype)
	return int(w)
}

// sameHeads names the rows of one shape of heads, which one model uses together.
func sameHeads(query, kv int) func(r *Row) string {
	return func(r *Row) string { return fmt.Sprint(r.Args[query], "/", r.Args[kv]) }
}

// Fewest rows for constants of their own, and for a search among a kernel's structures and
// a correction on a grid; sets between lean on the constants that serve them so far.
const (
	fewestAttention = 8
	enoughAttention = 60
)

// kernelFit says how the constants of a kind of kernel are found. Its parts work on one
// kernel K and leave it changed.
type kernelFit[K any] struct {
	starts []K // the structures that it may have, with constants to start from
	// tune returns the constants of k to be found and where they stand.
	tune func(k *K, rows []Row) ([]Parameter, []*float64)
	// seconds returns what prices row i of rows by k.
	seconds func(k *K, rows []Row) func(i int) float64
	// correct fits a correction of k to rows.
	correct func(k *K, rows []Row)
	// lean tells that the rows are few: the constants to start from are those of another
	// kernel, which they shall not leave without need, and whose correction they keep.
	lean bool
}

// search finds the constants of k and returns the mean of |ln(predicted / measured)|. lean
// is what straying from where they start costs, in rows.
func (f *kernelFit[K]) search(k *K, rows []Row, lean float64) float64 {
	params, fields := f.tune(k, rows)
	seconds := f.seconds(k, rows)
	loss := func(v []float64) float64 {
		for i := range fields {
			*fields[i] = v[i]
		}
		var sum float64
		for i := range rows {
			sum += math.Abs(math.Log(seconds(i) / rows[i].Seconds))
		}
		if lean > 0 {
			sum += lean * Strayed(params, v)
		}
		return sum / float64(len(rows))
	}
	return loss(Search(params, loss))
}

// structure returns the start that rows speak for.
func (f *kernelFit[K]) structure(rows []Row) K {
	var best K
	least := math.Inf(1)
	for _, k := range f.starts {
		start := k
		if v := f.search(&k, thin(rows, 250), 0); v < least {
			best, least = start, v
		}
	}
	return best
}

// fit returns the kernel that fits rows, of the structure of start.
func (f *kernelFit[K]) fit(start K, rows []Row) K {
	if f.lean {
		f.search(&start, rows, 5)
		return start
	}
	f.search(&start, thin(rows, 1200), 0)
	f.correct(&start, rows)
	return start
}

// score returns the kernel that fits rows and how far kernels of its structure miss rows
// that had no part in the fit.
func (f *kernelFit[K]) score(work func(r *Row) (flops, bytes float64), d *hwmodel.Device, start K, rows []Row, group func(r *Row) string) (K, hwmodel.Fit, error) {
	fit, err := CrossValidate(rows, 4, func(train []Row) (func(r *Row) float64, error) {
		k := f.fit(start, train)
		return func(r *Row) float64 { return f.seconds(&k, []Row{*r})(0) }, nil
	}, group)
	if err != nil {
		return start, fit, err
	}
	o := &Operator{Work: work}
	base, err := CrossValidate(rows, 4, func(train []Row) (func(r *Row) float64, error) {
		b := FitRoofline(o, d, thin(train, 300))
		return func(r *Row) float64 { return b.Time(o, d, r) }, nil
	}, nil)
	if err != nil {
		return start, fit, err
	}
	fit.Baseline = base.HeldOutMean
	return f.fit(start, rows), fit, nil
}

// correction fits a residual over those of axes whose values vary. sizes returns a row's
// values on all axes in order, seconds what the formula says of row i.
func correction(axes []hwmodel.Axis, smooth float64, rows []Row, sizes func(r *Row) []float64, seconds func(i int) float64) *hwmodel.Residual {
	at := make([][]float64, len(rows))
	for i := range rows {
		at[i] = sizes(&rows[i])
	}
	var kept []hwmodel.Axis
	samples := make([]Sample, len(rows))
	for i := range rows {
		samples[i].Log = math.Log(rows[i].Seconds / seconds(i))
	}
	for j, a := range axes {
		low, high := math.Inf(1), 0.0
		for i := range at {
			low, high = min(low, at[i][j]), max(high, at[i][j])
		}
		if high < 1.5*low {
			continue
		}
		kept = append(kept, hwmodel.Axis{Name: a.Name, Nodes: within(a.Nodes, low, high)})
		for i := range at {
			samples[i].At = append(samples[i].At, at[i][j])
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return FitResidual(kept, samples, smooth)
}

// within returns the nodes between low and high, and one beyond on either side.
func within(nodes []float64, low, high float64) []float64 {
	var out []float64
	for i, v := range nodes {
		if (i+1 == len(nodes) || nodes[i+1] > low) && (i == 0 || nodes[i-1] < high) {
			out = append(out, v)
		}
	}
	return out
}
