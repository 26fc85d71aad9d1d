package trace

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// This file derives the embedded tables from the files they describe. Run
// go test ./workloads/trace -run Tables -update to write them again.

// promptKnots and outputKnots are the sizes of a table's curves, and classes is
// the number of prompt classes: enough for the tolerances that
// TestTablesMatchTheirSources holds the tables to, in 4 to 5 KB a table.
const (
	promptKnots = 72
	outputKnots = 22
	classes     = 16
)

type pair struct{ prompt, output int32 }

// fitTable derives a table from the rows of its source.
func fitTable(q Quantiles, rows []pair) Quantiles {
	rows = slices.Clone(rows)
	q.Rows = len(rows)
	q.RankCorrelation = rankCorrelation(rows)
	prompts, outputs := columns(rows)
	q.Prompt, q.Output = moments(prompts), moments(outputs)
	slices.SortStableFunc(rows, func(a, b pair) int { return cmp.Compare(a.prompt, b.prompt) })
	prompts, outputs = columns(rows)
	q.PromptCurve = fitCurve(prompts, promptKnots)
	q.OutputCurves = nil
	for c := range classes {
		class := slices.Sorted(slices.Values(outputs[c*len(rows)/classes : (c+1)*len(rows)/classes]))
		q.OutputCurves = append(q.OutputCurves, fitCurve(class, outputKnots))
	}
	return q
}

// fitCurve approximates the sorted values by a curve of the given number of
// knots. It starts from the extremes, the median and the 90th percentile, and
// adds one knot at a time where the fit is worst: in turn by squared error,
// which settles mean and standard deviation, and by squared error of the
// logarithm, which settles the short lengths.
func fitCurve(sorted []int32, knots int) Curve {
	n := len(sorted)
	at := []int{0, (n - 1) / 2, (n-1)*9/10 + 1, n - 1}
	at = slices.Compact(slices.Sorted(slices.Values(at)))
	for turn := 0; len(at) < min(knots, n); turn++ {
		scale := func(x float64) float64 { return x }
		if turn%2 == 1 {
			scale = math.Log
		}
		worst, split := 0.0, -1
		for i := range len(at) - 1 {
			lo, hi := at[i], at[i+1]
			sum, most, where := 0.0, 0.0, -1
			for k := lo + 1; k < hi; k++ {
				line := float64(sorted[lo]) + float64(sorted[hi]-sorted[lo])*float64(k-lo)/float64(hi-lo)
				d := scale(float64(sorted[k])) - scale(line)
				sum += d * d
				if math.Abs(d) > most {
					most, where = math.Abs(d), k
				}
			}
			if sum > worst && where >= 0 {
				worst, split = sum, where
			}
		}
		if split < 0 {
			break // every value is on the curve
		}
		at = append(at, split)
		slices.Sort(at)
	}
	c := Curve{Rows: n, Rank: at}
	for _, k := range at {
		c.Tokens = append(c.Tokens, sorted[k])
	}
	return c
}

func columns(rows []pair) (prompts, outputs []int32) {
	for _, r := range rows {
		prompts, outputs = append(prompts, r.prompt), append(outputs, r.output)
	}
	return prompts, outputs
}

// moments returns the moments of unsorted values. A percentile is the smallest
// value that at least that share of the values does not exceed.
func moments(values []int32) Moments {
	sorted := slices.Sorted(slices.Values(values))
	n := float64(len(sorted))
	var sum, squares float64
	for _, v := range sorted {
		sum += float64(v)
		squares += float64(v) * float64(v)
	}
	at := func(p float64) float64 { return float64(sorted[int(math.Ceil(p*n))-1]) }
	mean := sum / n
	return Moments{Mean: mean, Std: math.Sqrt(squares/n - mean*mean), Median: at(0.5), P90: at(0.9)}
}

// rankCorrelation returns Spearman's coefficient, with mean ranks for ties.
func rankCorrelation(rows []pair) float64 {
	prompts, outputs := columns(rows)
	return correlation(ranks(prompts), ranks(outputs))
}

func ranks(values []int32) []float64 {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	rank := make([]float64, len(values))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && values[order[j]] == values[order[i]] {
			j++
		}
		for k := i; k < j; k++ {
			rank[order[k]] = float64(i+j-1) / 2
		}
		i = j
	}
	return rank
}

func correlation(x, y []float64) float64 {
	n := float64(len(x))
	var sx, sy, sxx, syy, sxy float64
	for i := range x {
		sx += x[i]
		sy += y[i]
	}
	mx, my := sx/n, sy/n
	for i := range x {
		sxx += (x[i] - mx) * (x[i] - mx)
		syy += (y[i] - my) * (y[i] - my)
		sxy += (x[i] - mx) * (y[i] - my)
	}
	return sxy / math.Sqrt(sxx*syy)
}

// writeTable returns a table as the text of its file.
func writeTable(q *Quantiles) string {
	var b strings.Builder
	b.WriteString("# Quantiles of joint prompt and output lengths, derived from the source below; no row of it is here.\n")
	b.WriteString("# Written by go test ./workloads/trace -run Tables -update; do not edit.\n\n")
	fmt.Fprintf(&b, "title = %q\nsource = %q\nlicence = %q\n", q.Title, q.Source, q.Licence)
	if q.Cite != "" {
		fmt.Fprintf(&b, "cite = %q\n", q.Cite)
	}
	fmt.Fprintf(&b, "rows = %d\nmax_total = %d\nrank_correlation = %.4f\n", q.Rows, q.MaxTotal, q.RankCorrelation)
	for _, m := range []struct {
		name string
		of   Moments
	}{{"prompt", q.Prompt}, {"output", q.Output}} {
		fmt.Fprintf(&b, "\n[%s] # of the source\nmean = %.2f\nstd = %.2f\nmedian = %.1f\np90 = %.1f\n", m.name, m.of.Mean, m.of.Std, m.of.Median, m.of.P90)
	}
	writeCurve(&b, "[prompt_curve]", &q.PromptCurve)
	for i := range q.OutputCurves {
		writeCurve(&b, "[[output_curve]]", &q.OutputCurves[i])
	}
	return b.String()
}

func writeCurve(b *strings.Builder, head string, c *Curve) {
	fmt.Fprintf(b, "\n%s\nrows = %d\nrank = [%s]\ntokens = [%s]\n", head, c.Rows, list(c.Rank), list(c.Tokens))
}

func list[T int | int32](values []T) string {
	s := strings.ReplaceAll(fmt.Sprint(values), " ", ",")
	return s[1 : len(s)-1]
}
