package trace

import (
	"embed"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"orrery/sim"
)

// tableFiles holds one TOML file per table: figures derived from public data
// sets, with their source and licence.
//
//go:embed tables/*.toml
var tableFiles embed.FS

// Table draws joint prompt and output lengths from an embedded table of
// quantiles of a public data set; [Tables] lists the names. Draws from a table
// are independent, unlike those of a [LengthFile], and like its source's requests
// never exceed its published longest total, if it has one.
//
// A table holds the quantile function of the prompts and, for each of a number
// of equally large classes of prompts, from short to long, that of their
// outputs. Mean, standard deviation, median and 90th percentile of both, and
// their rank correlation, are those of the source within 2 % and 0.03.
type Table struct{ Name string }

// Tables returns the names of the embedded tables in alphabetical order.
func Tables() []string {
	entries, err := tableFiles.ReadDir("tables")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".toml"))
	}
	return names
}

// Quantiles is an embedded table in full.
type Quantiles struct {
	Title           string  `toml:"title"`
	Source          string  `toml:"source"`
	Licence         string  `toml:"licence"`
	Cite            string  `toml:"cite"`
	Rows            int     `toml:"rows"`             // requests of the source
	MaxTotal        int     `toml:"max_total"`        // longest prompt plus output that the source admits, 0 if it names none
	RankCorrelation float64 `toml:"rank_correlation"` // Spearman's, of prompt and output
	Prompt          Moments `toml:"prompt"`           // of the source, not of the table
	Output          Moments `toml:"output"`
	PromptCurve     Curve   `toml:"prompt_curve"`
	OutputCurves    []Curve `toml:"output_curve"` // by class of prompt length, shortest first
}

// Moments are what papers print of a distribution of tokens.
type Moments struct {
	Mean   float64 `toml:"mean"`
	Std    float64 `toml:"std"`
	Median float64 `toml:"median"`
	P90    float64 `toml:"p90"`
}

// Curve is a quantile function, linear between its knots: the Rank[i]-th
// smallest of Rows values, counted from 0, is Tokens[i].
type Curve struct {
	Rows   int     `toml:"rows"`
	Rank   []int   `toml:"rank"`
	Tokens []int32 `toml:"tokens"`
}

// LoadTable returns the embedded table of the given name.
func LoadTable(name string) (*Quantiles, error) {
	text, err := tableFiles.ReadFile("tables/" + name + ".toml")
	if err != nil {
		return nil, fmt.Errorf("there is no table of lengths named %q; want one of %s", name, strings.Join(Tables(), ", "))
	}
	q := new(Quantiles)
	if _, err := toml.Decode(string(text), q); err != nil {
		return nil, fmt.Errorf("table of lengths %s: %w", name, err)
	}
	if err := q.check(); err != nil {
		return nil, fmt.Errorf("table of lengths %s: %w", name, err)
	}
	return q, nil
}

// check returns an error unless the curves can be drawn from.
func (q *Quantiles) check() error {
	rows := 0
	for i := range q.OutputCurves {
		c := &q.OutputCurves[i]
		if err := c.check(); err != nil {
			return fmt.Errorf("output_curve %d: %w", i, err)
		}
		rows += c.Rows
	}
	if err := q.PromptCurve.check(); err != nil {
		return fmt.Errorf("prompt_curve: %w", err)
	}
	if rows != q.Rows || q.PromptCurve.Rows != q.Rows {
		return fmt.Errorf("rows is %d, of the prompts %d, of the outputs %d; want all the same", q.Rows, q.PromptCurve.Rows, rows)
	}
	return nil
}

func (c *Curve) check() error {
	n := len(c.Rank)
	if n < 2 || n != len(c.Tokens) || c.Rank[0] != 0 || c.Rank[n-1] != c.Rows-1 {
		return fmt.Errorf("%d ranks and %d tokens; want as many of each, at least 2, from rank 0 to %d", n, len(c.Tokens), c.Rows-1)
	}
	if !slices.IsSorted(c.Tokens) || c.Tokens[0] < 1 || c.Tokens[n-1] > MaxTokens {
		return fmt.Errorf("tokens do not ascend from 1 or more to %d or less", MaxTokens)
	}
	for i := range n - 1 {
		if c.Rank[i] >= c.Rank[i+1] {
			return fmt.Errorf("rank %d follows %d; want ascending ranks", c.Rank[i+1], c.Rank[i])
		}
	}
	return nil
}

// Draws implements [Lengths], from the stream "lengths".
func (l Table) Draws(seed uint64) (func() (prompt, output int32), error) {
	q, err := LoadTable(l.Name)
	if err != nil {
		return nil, err
	}
	return q.sampler().draws(sim.Stream(seed, "lengths")), nil
}

// sampler is a table in the form in which it is drawn from.
type sampler struct {
	prompt  quantile
	outputs []quantile
	cap     int64
}

func (q *Quantiles) sampler() *sampler {
	s := &sampler{prompt: q.PromptCurve.quantile(), cap: int64(q.MaxTotal)}
	for i := range q.OutputCurves {
		s.outputs = append(s.outputs, q.OutputCurves[i].quantile())
	}
	if s.cap == 0 {
		s.cap = math.MaxInt64
	}
	return s
}

func (s *sampler) draws(rng *rand.Rand) func() (prompt, output int32) {
	return func() (prompt, output int32) { return s.at(rng.Float64(), rng.Float64()) }
}

// at returns the prompt that a share u of the prompts lies below, and the output
// that a share v of the outputs of its class lies below.
func (s *sampler) at(u, v float64) (prompt, output int32) {
	class := int(u * float64(len(s.outputs)))
	return capTotal(s.prompt.at(u), s.outputs[class].at(v), s.cap)
}

// quantile is a piecewise linear quantile function. guide tells, for equal parts
// of the unit interval, which piece the part begins in, so that a look-up takes
// a step or two rather than a search.
type quantile struct {
	rows   float64
	pieces []piece
	guide  [guides]uint16
}

const guides = 64

// piece is a stretch of a quantile function: from + slope*(x-at) for ranks x from
// at to end.
type piece struct{ at, end, from, slope float64 }

// quantile returns c in the form in which it is drawn from. The k-th smallest of
// n values stands for the ranks k to k+1 of n, so it is put at k+1/2; below the
// first and above the last knot the function is flat.
func (c *Curve) quantile() quantile {
	q := quantile{rows: float64(c.Rows)}
	q.pieces = append(q.pieces, piece{0, 0.5, float64(c.Tokens[0]), 0})
	for i := range len(c.Rank) - 1 {
		at, end := float64(c.Rank[i])+0.5, float64(c.Rank[i+1])+0.5
		from, to := float64(c.Tokens[i]), float64(c.Tokens[i+1])
		q.pieces = append(q.pieces, piece{at, end, from, (to - from) / (end - at)})
	}
	q.pieces = append(q.pieces, piece{q.rows - 0.5, math.Inf(1), float64(c.Tokens[len(c.Tokens)-1]), 0})
	p := 0
	for g := range q.guide {
		for q.pieces[p].end <= float64(g)/guides*q.rows {
			p++
		}
		q.guide[g] = uint16(p)
	}
	return q
}

// at returns the u-quantile in whole tokens, for u from 0 up to but not
// including 1.
func (q *quantile) at(u float64) int32 {
	x := u * q.rows
	i := int(q.guide[int(u*guides)])
	for q.pieces[i].end <= x {
		i++
	}
	p := &q.pieces[i]
	return int32(p.from + p.slope*(x-p.at) + 0.5)
}
