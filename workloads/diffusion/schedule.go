package diffusion

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"orrery/internal/names"
	"orrery/workloads/diffusion/solver"
)

// schedule is a searched solver schedule, as USF (S3) finds them: the TOML form.
//
//	family = "diffusion"      # of models that it samples
//	source = "..."
//	[[step]]
//	time = 999
//	order = 1                 # 1 to 4
//	corrector = false
//	evaluations = 1           # 0: an analytical step
//	guided = true
//	cached = 0.0              # share of the network that is not run
type schedule struct {
	Family string         `toml:"family"`
	Source string         `toml:"source"`
	Steps  []scheduleStep `toml:"step"`
}

// scheduleStep is a step of a file; nil stands for what is left out.
type scheduleStep struct {
	Time        *float64 `toml:"time"`
	Order       *int     `toml:"order"`
	Corrector   *bool    `toml:"corrector"`
	Evaluations *int     `toml:"evaluations"`
	Guided      *bool    `toml:"guided"`
	Cached      *float64 `toml:"cached"`

	line int
}

// maxSchedule bounds a schedule file, in bytes.
const maxSchedule = 1 << 20

// loadSchedule reads a schedule file as a sampler of that many steps.
func loadSchedule(file string) (*Sampler, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("schedule file: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSchedule+1))
	if err != nil {
		return nil, fmt.Errorf("schedule file: %w", err)
	}
	if len(data) > maxSchedule {
		return nil, fmt.Errorf("%s: want a schedule of at most %d bytes", file, maxSchedule)
	}
	return ParseSchedule(data, file)
}

// ParseSchedule reads a solver schedule: TOML, or CSV with a line of column names, of which
// time is the one that must be there; or a file with a version, as [solver.Encode] writes it. Errors
// name the file and the line.
func ParseSchedule(data []byte, file string) (*Sampler, error) {
	parse := parseScheduleTOML
	switch {
	case filepath.Ext(file) == ".csv":
		parse = parseScheduleCSV
	case solver.Versioned(data):
		return parseSolverSchedule(data, file)
	}
	s, err := parse(data, file)
	if err != nil {
		return nil, err
	}
	if s.Family == "" {
		s.Family = FamilyDiffusion
	}
	if families := []string{FamilyDiffusion, FamilyFlow, FamilyShift}; !slices.Contains(families, s.Family) {
		return nil, fmt.Errorf("%s: %w", file, names.Unknown("family", s.Family, families))
	}
	steps, err := s.steps(file)
	if err != nil {
		return nil, err
	}
	return fixedSteps(file, s.Family, steps), nil
}

// parseSolverSchedule reads a schedule that was searched, or written by the solvers themselves.
func parseSolverSchedule(data []byte, file string) (*Sampler, error) {
	s, err := solver.Parse(data, file)
	if err != nil {
		return nil, err
	}
	steps := make([]SolverStep, len(s.Steps))
	for i, own := range s.Steps {
		steps[i] = SolverStep{Time: solver.Discrete(s.Times[i]), Evaluations: 1, Order: own.Order}
		if i == 0 {
			if s.First != solver.Asked {
				steps[i].Evaluations = 0
			}
			continue
		}
		switch s.Steps[i-1].Corrector { // of the step that ends here
		case solver.Pseudo:
			steps[i].Corrector = true
		case solver.Evaluated:
			steps[i].Corrector, steps[i].Evaluations = true, 2
		}
	}
	return fixedSteps(file, FamilyDiffusion, steps), nil
}

// fixedSteps is the sampler that has these steps and no other number of them.
func fixedSteps(file, family string, steps []SolverStep) *Sampler {
	return &Sampler{
		Name: file, What: fmt.Sprintf("schedule of %d steps, %d evaluations", len(steps), Evaluations(steps)),
		Family: family, StepsOf: []int{len(steps)}, steps: func(int) []SolverStep { return slices.Clone(steps) },
	}
}

func parseScheduleTOML(data []byte, file string) (*schedule, error) {
	s := &schedule{}
	meta, err := toml.Decode(string(data), s)
	if err != nil {
		if pe, ok := err.(toml.ParseError); ok {
			return nil, fmt.Errorf("%s:%d: %s", file, pe.Position.Line, pe.Message)
		}
		return nil, fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "toml: "))
	}
	if extra := meta.Undecoded(); len(extra) > 0 {
		return nil, fmt.Errorf("%s: unknown key %q", file, extra[0].String())
	}
	at := 0
	for i, line := range strings.Split(string(data), "\n") {
		if strings.HasPrefix(strings.ReplaceAll(line, " ", ""), "[[step]]") && at < len(s.Steps) {
			s.Steps[at].line = i + 1
			at++
		}
	}
	return s, nil
}

func parseScheduleCSV(data []byte, file string) (*schedule, error) {
	r := csv.NewReader(bytes.NewReader(data))
	r.Comment, r.TrimLeadingSpace = '#', true
	head, err := r.Read()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s:1: empty: want a line of column names, time among them", file)
		}
		return nil, csvFault(file, err)
	}
	s := &schedule{}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return nil, csvFault(file, err)
		}
		step := scheduleStep{}
		step.line, _ = r.FieldPos(0)
		for i, cell := range row {
			if err := step.set(strings.TrimSpace(head[i]), strings.TrimSpace(cell)); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", file, step.line, err)
			}
		}
		s.Steps = append(s.Steps, step)
	}
}

// csvFault puts a torn line into the form of the other errors.
func csvFault(file string, err error) error {
	var pe *csv.ParseError
	if errors.As(err, &pe) {
		return fmt.Errorf("%s:%d: %w", file, pe.Line, pe.Err)
	}
	return fmt.Errorf("%s: %w", file, err)
}

// set fills the field that a column names; an empty cell leaves it out.
func (s *scheduleStep) set(column, cell string) (err error) {
	if cell == "" {
		return nil
	}
	switch column {
	case "time":
		s.Time, err = ptr(strconv.ParseFloat(cell, 64))
	case "order":
		s.Order, err = ptr(strconv.Atoi(cell))
	case "corrector":
		s.Corrector, err = ptr(strconv.ParseBool(cell))
	case "evaluations":
		s.Evaluations, err = ptr(strconv.Atoi(cell))
	case "guided":
		s.Guided, err = ptr(strconv.ParseBool(cell))
	case "cached":
		s.Cached, err = ptr(strconv.ParseFloat(cell, 64))
	default:
		return names.Unknown("column", column, []string{"time", "order", "corrector", "evaluations", "guided", "cached"})
	}
	if err != nil {
		return fmt.Errorf("%s is %q: want a number, or true or false", column, cell)
	}
	return nil
}

func ptr[T any](v T, err error) (*T, error) { return &v, err }

// or returns what p points at, or what stands for nothing.
func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// steps checks a schedule and returns its steps.
func (s *schedule) steps(file string) ([]SolverStep, error) {
	if len(s.Steps) == 0 || len(s.Steps) > maxSteps {
		return nil, fmt.Errorf("%s: %d steps: want from 1 to %d", file, len(s.Steps), maxSteps)
	}
	steps := make([]SolverStep, len(s.Steps))
	for i := range s.Steps {
		f := &s.Steps[i]
		steps[i] = SolverStep{
			Time: or(f.Time, math.NaN()), Evaluations: or(f.Evaluations, 1), Order: or(f.Order, 1),
			Corrector: or(f.Corrector, false), Unguided: !or(f.Guided, true), Cached: or(f.Cached, 0),
		}
		if err := checkStep(steps, i); err != nil {
			return nil, fmt.Errorf("%s:%d: step %d: %w", file, f.line, i+1, err)
		}
	}
	if Evaluations(steps) == 0 {
		return nil, fmt.Errorf("%s: no step evaluates the network: want one at least", file)
	}
	return steps, nil
}

// checkStep refuses a step that no solver could take after those before it.
func checkStep(steps []SolverStep, i int) error {
	s := steps[i]
	switch {
	case math.IsNaN(s.Time) || math.IsInf(s.Time, 0) || s.Time < 0:
		return errors.New("time is missing or no number from 0: want the time at which the network is evaluated")
	case i > 0 && s.Time >= steps[i-1].Time:
		return fmt.Errorf("time %g is not below the %g of the step before: want times that fall", s.Time, steps[i-1].Time)
	case s.Order < 1 || s.Order > maxOrder:
		return fmt.Errorf("order is %d; want from 1 to %d", s.Order, maxOrder)
	case s.Order > i+1 && s.Evaluations < s.Order:
		return fmt.Errorf("order is %d with %d steps before: want at most %d", s.Order, i, i+1)
	case s.Evaluations < 0 || s.Evaluations > maxOrder:
		return fmt.Errorf("evaluations is %d; want from 0 to %d", s.Evaluations, maxOrder)
	case s.Corrector && i == 0:
		return errors.New("corrector at the first step: there is nothing to correct, want false")
	case math.IsNaN(s.Cached) || s.Cached < 0 || s.Cached >= 1:
		return fmt.Errorf("cached is %g; want a share from 0, below 1", s.Cached)
	case s.Cached > 0 && i == 0:
		return errors.New("cached at the first step: there is nothing to keep from before, want 0")
	}
	return nil
}
