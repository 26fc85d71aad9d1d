package calibrate

import (
	"slices"
	"strconv"
	"strings"

	"orrery/hwmodel"
)

// The tables of element-wise kernels hold the number of elements alone. Where a kernel
// gives each token's row to one block, its time also depends on how many rows they
// are: 24 tokens of 22016 elements take four times as long as 384 of 1376. The sources
// timed known models at known token counts, so that the product tells the two, in one
// case of three with some doubt left.

// vidurTokens are the token counts that Vidur's tables of matrix products have.
var vidurTokens = []int{1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 64, 72, 88, 104, 120, 136, 144, 168, 176, 208, 248, 256, 288, 320, 344, 400, 416, 496,
	592, 616, 704, 768, 840, 952, 1000, 1200, 1424, 1488, 1696, 1856, 2032, 2304, 2432, 2880, 3456, 3616, 4096, 4480, 5632, 6976, 8704, 10880,
	13568, 16896, 21248, 26368, 32768}

// a30Tokens are those of the fork of Vidur that ran on the A30.
var a30Tokens = []int{1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 80, 96, 128, 168, 216, 280, 368, 480, 632, 824, 1072, 1408, 1840, 2400, 3136, 4096}

// tokenWidths says how a source's rows of a function come about: the token counts, the
// widths of its models, and whether these are split over the devices of a
// tensor-parallel group.
type tokenWidths struct {
	tokens, widths []int
	split          bool
}

// widthsOf holds the widths of the models' published configurations. Vidur timed
// Llama-2 7B and 70B, CodeLlama 34B, InternLM 20B, Llama-3 8B and 70B, Qwen 72B and
// Phi-2; its fork Llama-2 7B and Qwen2 7B.
var widthsOf = map[string]tokenWidths{
	"vidur silu_mul":     {vidurTokens, []int{11008, 13824, 14336, 22016, 24576, 28672}, true}, // of the MLP
	"vidur rope":         {vidurTokens, []int{5120, 8192, 9216, 10240, 16384}, true},           // of queries and keys
	"vidur add":          {vidurTokens, []int{2560, 4096, 5120, 8192}, false},                  // of the residual stream
	"vidur-a30 silu_mul": {a30Tokens, []int{11008, 18944}, true},
	"vidur-a30 rope":     {a30Tokens, []int{4096, 8192}, true},
}

// phiWidth is the width of Phi-2, whose attention and MLP run side by side: adding both
// to the residual stream takes two additions, though the table counts one.
const phiWidth = 2560

// callsOf returns the calls that a row of either operator may have timed, mostly one.
func callsOf(r *Row) []hwmodel.Pass {
	w, _ := hwmodel.Width(r.DType)
	fn := r.Words[0]
	if hwmodel.AlongRows(fn) {
		return []hwmodel.Pass{{Bytes: 2 * r.Args[0] * r.Args[1] * w, Rows: r.Args[0], Cols: r.Args[1], Width: w}}
	}
	one := hwmodel.Pass{Bytes: r.Args[0] * (r.Args[1] + r.Args[2]) * w, Width: w, Kernels: kernelsOf(fn)}
	known, ok := widthsOf[r.Source+" "+fn]
	if !ok {
		return []hwmodel.Pass{one}
	}
	var calls []hwmodel.Pass
	elems := int(r.Args[0])
	for _, width := range known.widths {
		for devices := 1; devices <= 8 && (devices == 1 || known.split); devices *= 2 {
			cols := width / devices
			if elems%cols != 0 || !slices.Contains(known.tokens, elems/cols) {
				continue
			}
			c := one
			c.Rows, c.Cols = float64(elems/cols), float64(cols)
			if fn == "add" {
				c.Rows, c.Cols = 0, 0 // gives no block a row
				if width == phiWidth {
					c.Bytes, c.Kernels = 2*c.Bytes, 2
				}
			}
			if !slices.Contains(calls, c) {
				calls = append(calls, c)
			}
		}
	}
	if len(calls) == 0 {
		return []hwmodel.Pass{one}
	}
	return calls
}

// kernelsOf returns the number of kernels that a function's name tells, as in
// swish_2kernels.
func kernelsOf(function string) int {
	_, last, _ := cutLast(function, "_")
	digits, ok := strings.CutSuffix(last, "kernels")
	if n, err := strconv.Atoi(digits); ok && err == nil && n > 0 {
		return n
	}
	return 1
}

// cutLast cuts s around the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// meanTime returns the mean time of s over calls.
func meanTime(s *hwmodel.Stream, d *hwmodel.Device, calls []hwmodel.Pass) float64 {
	var sum float64
	for i := range calls {
		sum += s.Time(d, calls[i])
	}
	return sum / float64(len(calls))
}
