package quality

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"orrery/sim"
)

// The tables have the sizes under which they are known.
func TestTablesAreWhole(t *testing.T) {
	sizes := map[string][3]int{ // samples, features, classes
		"digits": {1797, 64, 10}, "dna": {3186, 180, 3}, "glass": {214, 9, 6}, "heart": {270, 13, 2},
		"ionosphere": {351, 34, 2}, "iris": {150, 4, 3}, "letter": {4000, 16, 26}, "pima": {768, 8, 2},
		"satellite": {4000, 36, 6}, "sonar": {208, 60, 2}, "vehicle": {846, 18, 4}, "vowel": {990, 10, 11}, "wine": {178, 13, 3},
	}
	if len(Tables()) != len(sizes) {
		t.Errorf("%d tables; want %d", len(Tables()), len(sizes))
	}
	for _, name := range Tables() {
		d, err := Table(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := [3]int{d.Len(), len(d.Features), len(d.Classes)}; got != sizes[name] {
			t.Errorf("%s is %v; want %v", name, got, sizes[name])
		}
	}
	if _, err := Table("wines"); err == nil || !strings.Contains(err.Error(), "wine") {
		t.Errorf("for wines: %v; want a hint at wine", err)
	}
}

// The same three samples in three formats are one table.
func TestFormatsAgree(t *testing.T) {
	files := map[string]string{
		"a.csv":    "x,y,class\n0.5,-1,7\n0,2,8\n1e1,0,7\n",
		"b.csv":    "0.5,-1,7\n0,2,8\n\n1e1,0,7\n",
		"c.libsvm": "+7 1:0.5 2:-1 # first\n8 2:2\n\n7.0 1:10\n",
		"d.arff":   "% a comment\n@RELATION x\n@attribute '1' numeric\n@attribute\t\"2\" real\n@attribute class {7, '8'}\n@data\n0.5, -1, 7\n0,2,'8'\n1e1,0,7\n",
	}
	want := Dataset{Classes: []string{"7", "8"},
		X: []float64{0.5, -1, 0, 2, 10, 0}, Y: []int{0, 1, 0}}
	for name, text := range files {
		d, err := ReadDataset(name, strings.NewReader(text))
		if err != nil {
			t.Error(err)
			continue
		}
		if len(d.Features) != 2 {
			t.Errorf("%s has features %q; want two", name, d.Features)
		}
		want.Name, want.Features = name, d.Features // names differ: a format may have none
		if !reflect.DeepEqual(*d, want) {
			t.Errorf("%s reads as %+v; want %+v", name, *d, want)
		}
	}
}

func TestNominalFeaturesBecomeColumns(t *testing.T) {
	const text = "@relation r\n@attribute sex {f,m}\n@attribute chest{'a b',c,d}\n@attribute y {no,yes}\n@data\nm,'a b',no\nf,d,yes\n"
	d, err := ReadARFF("x.arff", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if want := []float64{1, 1, 0, 0, 0, 0, 0, 1}; !reflect.DeepEqual(d.X, want) {
		t.Errorf("features %v; want %v", d.X, want)
	}
	if want := []string{"sex", "chest=a b", "chest=c", "chest=d"}; !reflect.DeepEqual(d.Features, want) {
		t.Errorf("features are called %q; want %q", d.Features, want)
	}
}

func TestReadersNameTheLine(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"x.csv", "", "x.csv: no samples"},
		{"x.csv", "a,b,class\n1,2,0\n1,x,1\n", `x.csv:3: b is "x"; want a finite number`},
		{"x.csv", "1,2,0\n1,2\n", "x.csv:2: 2 values; want 3"},
		{"x.csv", "1,NaN,0\n1,2,1\n", "x.csv:1: 2 is \"NaN\""},
		{"x.csv", "1,\"2,0\n", "x.csv:"},
		{"x.csv", "1,2,0\n1,3,0\n", `every sample is of class "0"`},
		{"x.csv", "0\n1\n", "no features"},
		{"x.csv", "1,0\n1,\n", "x.csv:2: a sample without a class"},
		{"x.libsvm", "1 1:2\nyes 1:3\n", `x.libsvm:2: the class is "yes"; want a number`},
		{"x.libsvm", "1 1:2\n2 2:3 2:4\n", `x.libsvm:2: "2:4" after index 2; want index:value with a larger index`},
		{"x.libsvm", "1 0:2\n", "x.libsvm:1: "},
		{"x.libsvm", "1 1:2\n2 1:1 999999999:1\n", "x.libsvm:2: 2 samples of 999999999 features"},
		{"x.libsvm", "1 1:inf\n", "x.libsvm:1: feature 1 is"},
		{"x.arff", "@relation a\nnumeric\n", `x.arff:2: "numeric" before @data`},
		{"x.arff", "@attribute a date\n", `x.arff:1: attribute "a" is of type "date"`},
		{"x.arff", "@attribute a numeric\n@data\n", "x.arff:2: 1 attributes"},
		{"x.arff", "@attribute a real\n@attribute b real\n@data\n", `x.arff:3: the last attribute, "b", is a number`},
		{"x.arff", "@attribute a real\n@attribute b {u,v}\n@data\n1,u\n?,v\n", `x.arff:5: a is "?"`},
		{"x.arff", "@attribute a real\n@attribute b {u,v}\n@data\n1,w\n", `x.arff:4: class "w"; want one of`},
		{"x.arff", "@attribute a real\n@attribute b {u,v}\n@data\n{0 1}\n", "x.arff:4: a sparse row"},
		{"x.arff", "@attribute a real\n@attribute b {u,v}\n@data\n1,'u\n", "x.arff:4: a quote"},
		{"x.arff", "@attribute a {u,v\n", "x.arff:1: the values of"},
		{"x.txt", "", "unknown format"},
		{"x.csv.gz", "not packed", "x.csv.gz: gzip"},
	} {
		_, err := ReadDataset(c.name, strings.NewReader(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s %q: %v; want one line with %q", c.name, c.text, err, c.want)
		}
	}
}

func TestOpenDatasetReadsFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.csv")
	if err := os.WriteFile(path, []byte("1,a\n2,b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err := OpenDataset(path); err != nil || d.Len() != 2 {
		t.Errorf("%v, %v; want two samples", d, err)
	}
	if _, err := OpenDataset(path + ".not"); err == nil {
		t.Error("a file that is not there opens")
	}
}

func TestSplitAndScale(t *testing.T) {
	d, err := Table("pima")
	if err != nil {
		t.Fatal(err)
	}
	train, test := d.Split(0.7, sim.Stream(1, "split"))
	if train.Len() != 537 || test.Len() != 231 {
		t.Errorf("%d and %d samples; want 537 and 231", train.Len(), test.Len())
	}
	again := train.Scale(train.Scaling()).Scaling()
	for j := range d.Features {
		if math.Abs(again.Mean[j]) > 1e-12 || math.Abs(again.Deviation[j]-1) > 1e-12 {
			t.Errorf("%s: mean %g, deviation %g after scaling; want 0 and 1", d.Features[j], again.Mean[j], again.Deviation[j])
		}
	}
}

// FuzzReadDataset finds that a reader refuses or returns a table that is whole.
func FuzzReadDataset(f *testing.F) {
	f.Add(0, []byte("a,b,class\n1,2,x\n3,4,y\n"))
	f.Add(1, []byte("@relation r\n@attribute a real\n@attribute c {u,'v w'}\n@data\n1,u\n2,'v w'\n"))
	f.Add(2, []byte("+1 1:0.5 3:-1\n-1 2:1 # c\n"))
	f.Fuzz(func(t *testing.T, format int, text []byte) {
		name := []string{"x.csv", "x.arff", "x.libsvm"}[((format%3)+3)%3]
		d, err := ReadDataset(name, bytes.NewReader(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), name+":") {
				t.Errorf("error %q does not begin with the file", err)
			}
			return
		}
		if len(d.X) != d.Len()*len(d.Features) || len(d.Classes) < 2 {
			t.Errorf("%d values of %d samples by %d features, %d classes", len(d.X), d.Len(), len(d.Features), len(d.Classes))
		}
		for _, y := range d.Y {
			if y < 0 || y >= len(d.Classes) {
				t.Errorf("class %d of %d", y, len(d.Classes))
			}
		}
	})
}
