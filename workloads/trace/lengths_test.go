package trace

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// lengthsOf returns n draws as floats.
func lengthsOf(t testing.TB, l Lengths, seed uint64, n int) (prompts, outputs []float64) {
	t.Helper()
	draw, err := l.Draws(seed)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		p, o := draw()
		if p < 1 || o < 1 {
			t.Fatalf("drew %d and %d tokens; want at least 1", p, o)
		}
		prompts, outputs = append(prompts, float64(p)), append(outputs, float64(o))
	}
	return prompts, outputs
}

func std(x []float64) float64 { return stat.StdDev(x, nil) }

// atLeastOne returns mean and standard deviation of max(X, 1) for a normal X.
func atLeastOne(mu, sigma float64) (mean, std float64) {
	z := (1 - mu) / sigma
	n := distuv.UnitNormal
	above := n.Survival(z)
	mean = n.CDF(z) + mu*above + sigma*n.Prob(z)
	square := n.CDF(z) + (mu*mu+sigma*sigma)*above + sigma*(mu+1)*n.Prob(z)
	return mean, math.Sqrt(square - mean*mean)
}

func TestLengthsHaveTheirMoments(t *testing.T) {
	const seed, n = 17, 400_000
	clampedMean, clampedStd := atLeastOne(512, 256)
	logNormal := LogNormal{200, 0.8}
	logNormalMean := 200 * math.Exp(0.32)
	for _, c := range []struct {
		of        Dist
		mean, std float64
	}{
		{Normal{5120, 256}, 5120, 256},
		{Normal{512, 256}, clampedMean, clampedStd},
		{logNormal, logNormalMean, logNormalMean * math.Sqrt(math.Expm1(0.64))},
		{LogNormalOf(300, 150), 300, 150},
		{Uniform{1, 1000}, 500.5, math.Sqrt((1000*1000 - 1) / 12.)},
		{Uniform{1, 4}, 2.5, math.Sqrt(15 / 12.)},
		{Geometric{20}, 20, math.Sqrt(20 * 19)},
	} {
		t.Run(fmt.Sprintf("%T%v", c.of, c.of), func(t *testing.T) {
			t.Logf("seed %d", seed)
			prompts, outputs := lengthsOf(t, Joint{Prompt: c.of, Output: c.of}, seed, n)
			for _, x := range [][]float64{prompts, outputs} {
				within(t, "mean", x, mean, c.mean)
				within(t, "standard deviation", x, std, c.std)
			}
			if r := stat.Correlation(prompts, outputs, nil); math.Abs(r) > 4.5/math.Sqrt(n) {
				t.Errorf("correlation is %.4f, want 0", r)
			}
		})
	}
	prompts, outputs := lengthsOf(t, Joint{Prompt: Fixed{100}, Output: Fixed{7}}, seed, 1000)
	for i := range prompts {
		if prompts[i] != 100 || outputs[i] != 7 {
			t.Fatalf("fixed lengths are %v and %v, want 100 and 7", prompts[i], outputs[i])
		}
	}
}

// Under a Gaussian copula of correlation r, Spearman's coefficient is
// 6/pi asin(r/2), whatever the marginals (Kruskal, 1958).
func TestCorrelationIsKept(t *testing.T) {
	const seed, n = 19, 100_000
	for _, r := range []float64{-1, -0.6, 0.3, 0.9, 1} {
		draw, err := Joint{Prompt: LogNormal{1e5, 1}, Output: Normal{1e5, 1e4}, Correlation: r}.Draws(seed)
		if err != nil {
			t.Fatal(err)
		}
		var rows []pair
		for range n {
			p, o := draw()
			rows = append(rows, pair{p, o})
		}
		want := 6 / math.Pi * math.Asin(r/2)
		// The standard error of Spearman's coefficient is at most 1/sqrt(n).
		if got := rankCorrelation(rows); math.Abs(got-want) > 4.5/math.Sqrt(n) {
			t.Errorf("seed %d, correlation %v: rank correlation is %.4f, want %.4f", seed, r, got, want)
		}
	}
}

func TestTableDrawsFollowTheTable(t *testing.T) {
	const seed, n = 23, 1_000_000
	q, err := LoadTable("chat")
	if err != nil {
		t.Fatal(err)
	}
	prompts, outputs := lengthsOf(t, Table{"chat"}, seed, n)
	t.Logf("seed %d", seed)
	// The table itself is a little off its source; a fifth of a percent is allowed for that.
	for _, c := range []struct {
		what string
		x    []float64
		want Moments
	}{{"prompts", prompts, q.Prompt}, {"outputs", outputs, q.Output}} {
		got, stdErr := estimate(c.x, mean)
		if math.Abs(got-c.want.Mean) > 4.5*stdErr+0.002*c.want.Mean {
			t.Errorf("mean of %s is %.1f, want %.1f", c.what, got, c.want.Mean)
		}
		got, stdErr = estimate(c.x, std)
		if math.Abs(got-c.want.Std) > 4.5*stdErr+0.002*c.want.Std {
			t.Errorf("standard deviation of %s is %.1f, want %.1f", c.what, got, c.want.Std)
		}
	}
}

func TestCapCutsInProportion(t *testing.T) {
	for _, c := range []struct{ prompt, output, most, wantPrompt, wantOutput int32 }{
		{100, 100, 200, 100, 100},
		{300, 100, 200, 150, 50},
		{8192, 1, 8192, 8191, 1},
		{1, 8192, 8192, 1, 8191},
		{1, 1, 2, 1, 1},
		{1000, 1000, 2, 1, 1},
		{5, 5, 9, 4, 4}, // both shares of the one token are rounded up, as in the artefact
		{MaxTokens, MaxTokens, 1000, 500, 500},
	} {
		p, o := capTotal(c.prompt, c.output, int64(c.most))
		if p != c.wantPrompt || o != c.wantOutput {
			t.Errorf("%d+%d capped to %d is %d+%d, want %d+%d", c.prompt, c.output, c.most, p, o, c.wantPrompt, c.wantOutput)
		}
	}
	for p := int32(1); p < 40; p++ {
		for o := int32(1); o < 40; o++ {
			for most := int32(2); most < 80; most++ {
				gp, g := capTotal(p, o, int64(most))
				if gp < 1 || g < 1 || gp > p || g > o || gp+g > most {
					t.Fatalf("%d+%d capped to %d is %d+%d", p, o, most, gp, g)
				}
			}
		}
	}
}

// Draws from a file use every row once before any row comes again, in an order
// that the seed decides.
func TestLengthFileDrawsWithoutReplacement(t *testing.T) {
	var text strings.Builder
	text.WriteString("output_tokens,prompt_tokens\n")
	for i := range 50 {
		fmt.Fprintf(&text, "%d,%d\n", i+1, 1000+i)
	}
	path := write(t, "lengths.csv", text.String())
	var orders [2][]float64
	for seed := range orders {
		prompts, outputs := lengthsOf(t, LengthFile{path}, uint64(seed), 150)
		for round := range 3 {
			seen := map[float64]bool{}
			for i := 50 * round; i < 50*(round+1); i++ {
				if prompts[i] != outputs[i]+999 {
					t.Fatalf("prompt %v came with output %v; want its own", prompts[i], outputs[i])
				}
				seen[prompts[i]] = true
			}
			if len(seen) != 50 {
				t.Errorf("seed %d, round %d: %d of 50 rows were drawn", seed, round, len(seen))
			}
		}
		orders[seed] = prompts
	}
	if fmt.Sprint(orders[0][:50]) == fmt.Sprint(orders[1][:50]) || fmt.Sprint(orders[0][:50]) == fmt.Sprint(orders[0][50:100]) {
		t.Error("two shuffles gave the same order")
	}
}
