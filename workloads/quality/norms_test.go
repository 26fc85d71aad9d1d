package quality

import (
	"slices"
	"strings"
	"testing"
)

func TestNormsAreRead(t *testing.T) {
	for text, want := range map[string][]float64{
		"norm\n3\n2\n1\n":                      {3, 2, 1},
		"step,norm\n0,3\n10,2\n20,1\n":         {3, 2, 1},
		"loss,norm,step\n1,3,5\n1,2,9\n1,1,13": {3, 2, 1},
	} {
		got, err := ReadNorms("n.csv", strings.NewReader(text), 0)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, steps := range []int{21, 25, 30, 39} { // logged at 0, 10 and 20
		if _, err := ReadNorms("n.csv", strings.NewReader("step,norm\n0,3\n10,2\n20,1\n"), steps); err != nil {
			t.Errorf("a run of %d steps: %v", steps, err)
		}
	}
}

func TestNormsThatMakeNoSenseAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "n.csv:1: no header",
		"loss\n1\n":                    `n.csv:1: no column "norm"`,
		"norm\n1\nNaN\n":               `n.csv:3: norm is "NaN"; want a positive number`,
		"norm\n1\n0\n":                 `n.csv:3: norm is "0"`,
		"norm\n1\n-2\n":                `n.csv:3: norm is "-2"`,
		"norm\n1\n1e999\n":             `n.csv:3: norm is "1e999"`,
		"norm,step\n1,0\n1\n":          "n.csv:3: 1 fields where the header has 2",
		"norm,step\n1,0\n1,x\n":        `n.csv:3: step is "x"`,
		"norm,step\n1,4\n1,4\n":        "n.csv:3: step 4 follows 4",
		"norm,step\n1,0\n1,5\n1,6\n":   "n.csv:4: step 6 follows 5; want steps at equal distances",
		"norm\n":                       "n.csv: 0 norms",
		"norm,step\n1,0\n1,10\n1,20\n": "n.csv: norms of 30 steps for a run of 20",
		"norm,step\n1,0\n1,4\n1,8\n":   "n.csv: norms of 12 steps for a run of 20",
	} {
		_, err := ReadNorms("n.csv", strings.NewReader(text), 20)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func FuzzReadNorms(f *testing.F) {
	f.Add("step,norm\n0,1\n10,2\n")
	f.Add("norm\n1\n\"") // a quote that nothing closes
	f.Fuzz(func(t *testing.T, text string) {
		norms, err := ReadNorms("n.csv", strings.NewReader(text), 0)
		if err == nil && len(norms) < 2 {
			t.Errorf("%q is read as %d norms; want those of a run", text, len(norms))
		}
	})
}
