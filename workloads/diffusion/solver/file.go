package solver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"orrery/internal/names"
)

// FileVersion is that of the schedule files that are written and read.
const FileVersion = 1

// Words of a file, by value.
var (
	predictionWords = []string{"data", "noise"}
	scalingWords    = []string{"taylor", "half", "plain"}
	firstWords      = []string{"asked", "zero", "mean"}
	basisWords      = []string{"log-snr", "time"}
)

func (p Prediction) String() string { return predictionWords[p] }
func (s Scaling) String() string    { return scalingWords[s] }
func (f First) String() string      { return firstWords[f] }
func (b Basis) String() string      { return basisWords[b] }

// Note is what a file says of a schedule beside the schedule: figures by name, and where they
// come from.
type Note struct {
	Source  string
	Quality []Figure
}

// Figure is a number with a name.
type Figure struct {
	Name  string
	Value float64
}

// Encode returns the file of a checked schedule: TOML, a table [[step]] for each time at which the
// network is evaluated. Times are levels of a discrete schedule, 999 to 0.
func Encode(s *Schedule, n Note) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# A solver schedule for `sampler = \"FILE\"`. time: of 1000 noise levels; corrector: the step\n# before is taken again with this evaluation; evaluations = 0: an analytical first step.\n")
	fmt.Fprintf(&b, "version = %d\nfamily = \"diffusion\"\nsource = %s\nsteps = %d\nend = %s\nfirst = %q\n", FileVersion, strconv.Quote(n.Source), len(s.Steps), number(Discrete(s.Times[len(s.Steps)])), s.First)
	if len(n.Quality) > 0 {
		b.WriteString("\n[quality]\n")
		for _, f := range n.Quality {
			fmt.Fprintf(&b, "%s = %s\n", f.Name, number(f.Value))
		}
	}
	for i, step := range s.Steps {
		evaluations, corrector := 1, Uncorrected
		if i == 0 && s.First != Asked {
			evaluations = 0
		}
		if i > 0 {
			corrector = s.Steps[i-1].Corrector
		}
		if corrector == Evaluated {
			evaluations = 2
		}
		fmt.Fprintf(&b, "\n[[step]]\ntime = %s\nevaluations = %d\norder = %d\nprediction = %q\n", number(Discrete(s.Times[i])), evaluations, step.Order, step.Prediction)
		if corrector != Uncorrected {
			b.WriteString("corrector = true\n")
		}
		if step.Points > 0 {
			fmt.Fprintf(&b, "points = %d\n", step.Points)
		}
		if step.Scaling != Taylor {
			fmt.Fprintf(&b, "scaling = %q\n", step.Scaling)
		}
		if step.Relax != 0 {
			fmt.Fprintf(&b, "relax = %s\n", number(step.Relax))
		}
		if step.Back > 1 {
			fmt.Fprintf(&b, "back = %d\n", step.Back)
		}
		if step.Basis != InLogSNR {
			fmt.Fprintf(&b, "basis = %q\n", step.Basis)
		}
	}
	return b.Bytes()
}

// number writes a float so that it is read back as it was, and is a float to TOML.
func number(x float64) string {
	s := strconv.FormatFloat(x, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

// file is the TOML form.
type file struct {
	Version int                `toml:"version"`
	Family  string             `toml:"family"`
	Source  string             `toml:"source"`
	Count   int                `toml:"steps"`
	End     float64            `toml:"end"`
	First   string             `toml:"first"`
	Quality map[string]float64 `toml:"quality"`
	Steps   []fileStep         `toml:"step"`
}

type fileStep struct {
	Time        *float64 `toml:"time"`
	Evaluations int      `toml:"evaluations"`
	Order       int      `toml:"order"`
	Prediction  string   `toml:"prediction"`
	Corrector   bool     `toml:"corrector"`
	Points      int      `toml:"points"`
	Scaling     string   `toml:"scaling"`
	Relax       float64  `toml:"relax"`
	Back        int      `toml:"back"`
	Basis       string   `toml:"basis"`
}

// maxFile bounds a schedule file, in bytes.
const maxFile = 1 << 20

// Open reads a schedule file. Errors name the file, and the line or the step.
func Open(path string) (*Schedule, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("schedule file: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("schedule file: %w", err)
	}
	return Parse(data, path)
}

// Versioned says whether data is a file of this package's rather than a plain list of times and
// orders. It looks at keys before the first table.
func Versioned(data []byte) bool {
	for line := range strings.Lines(string(data)) {
		key, _, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key = strings.TrimSpace(key); {
		case strings.HasPrefix(key, "["):
			return false
		case key == "version":
			return true
		}
	}
	return false
}

// Parse reads what Encode wrote. Errors name the file, and the line or the step.
func Parse(data []byte, name string) (*Schedule, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: want a schedule of at most %d bytes", name, maxFile)
	}
	var f file
	meta, err := toml.Decode(string(data), &f)
	if err != nil {
		var pe toml.ParseError
		if errors.As(err, &pe) {
			return nil, fmt.Errorf("%s:%d: %s", name, pe.Position.Line, pe.Message)
		}
		return nil, fmt.Errorf("%s: %s", name, strings.TrimPrefix(err.Error(), "toml: "))
	}
	switch extra := meta.Undecoded(); {
	case f.Version != FileVersion:
		return nil, fmt.Errorf("%s: version is %d; want %d", name, f.Version, FileVersion)
	case len(extra) > 0:
		return nil, fmt.Errorf("%s: unknown key %q", name, extra[0].String())
	case f.Family != "" && f.Family != "diffusion":
		return nil, fmt.Errorf("%s: family is %q; want diffusion", name, f.Family)
	case f.Count != len(f.Steps):
		return nil, fmt.Errorf("%s: %d steps where the file says %d: it is torn, or was edited", name, len(f.Steps), f.Count)
	}
	s, err := f.schedule()
	if err == nil {
		err = s.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// word returns the place of a word, the first one's if there is none.
func word[T ~int](what, text string, words []string) (T, error) {
	if text == "" {
		return 0, nil
	}
	for i, w := range words {
		if w == text {
			return T(i), nil
		}
	}
	return 0, names.Unknown(what, text, words)
}

func (f *file) schedule() (*Schedule, error) {
	s := &Schedule{}
	var err error
	if s.First, err = word[First]("first", f.First, firstWords); err != nil {
		return nil, err
	}
	for i := range f.Steps {
		step, err := f.step(i, s.First)
		if err != nil {
			return nil, fmt.Errorf("step %d: %w", i+1, err)
		}
		s.Steps = append(s.Steps, step)
		s.Times = append(s.Times, Continuous(*f.Steps[i].Time))
	}
	s.Times = append(s.Times, Continuous(f.End))
	return s, nil
}

func (f *file) step(i int, first First) (step Step, err error) {
	from := &f.Steps[i]
	step = Step{Order: from.Order, Points: from.Points, Relax: from.Relax, Back: from.Back}
	if from.Time == nil || math.IsNaN(*from.Time) {
		return step, errors.New("no time; want the noise level at which the network is evaluated")
	}
	if step.Prediction, err = word[Prediction]("prediction", from.Prediction, predictionWords); err != nil {
		return step, err
	}
	if step.Scaling, err = word[Scaling]("scaling", from.Scaling, scalingWords); err != nil {
		return step, err
	}
	if step.Basis, err = word[Basis]("basis", from.Basis, basisWords); err != nil {
		return step, err
	}
	want := 1
	switch {
	case i == 0 && first != Asked:
		want = 0
	case from.Corrector && from.Evaluations == 2:
		want = 2
	}
	if from.Evaluations != want {
		return step, fmt.Errorf("evaluations is %d; want %d here", from.Evaluations, want)
	}
	if from.Corrector && i == 0 {
		return step, errors.New("corrector at the first step: there is nothing to correct, want false")
	}
	if i+1 < len(f.Steps) && f.Steps[i+1].Corrector { // the file has it where the answer comes from
		step.Corrector = Pseudo
		if f.Steps[i+1].Evaluations == 2 {
			step.Corrector = Evaluated
		}
	}
	return step, nil
}
