package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"

	"orrery/plan/sweep"
	"orrery/report"
	"orrery/scenarios"
)

// subject is one of the settings that a question is asked of.
type subject struct {
	label    string
	scenario *scenarios.Scenario
	// kept is the result of a run that is over, of a folder of results, nil if the scenario
	// is to be run.
	kept *report.Result
}

// subjects returns the settings to ask about: every scenario named, each with every
// combination of the values to vary; or the variants that a single scenario has in
// its [compare] section; or that scenario itself.
func (f *common) subjects(args, vary []string) ([]subject, error) {
	axes, err := parseVary(vary)
	if err != nil {
		return nil, err
	}
	var out []subject
	for _, name := range args {
		if isFolder(name) {
			s, err := keptSubject(name)
			if err != nil {
				return nil, err
			}
			out = append(out, s)
			continue
		}
		s, err := f.load(name)
		if err != nil {
			return nil, err
		}
		if len(args) == 1 && len(axes) == 0 && len(s.Variants()) > 0 {
			for _, v := range s.Variants() {
				out = append(out, subject{label: v.Label, scenario: v.Scenario})
			}
			return out, unequal(out)
		}
		for _, set := range product(axes) {
			// The values to vary take the place of the scenario's own variants.
			v, err := s.With(append([]string{"compare.variant=[]"}, set.sets...)...)
			if err != nil && len(set.sets) > 0 {
				return nil, fmt.Errorf("%w (with %s)", err, strings.Join(set.sets, " "))
			}
			if err != nil {
				return nil, err
			}
			label := strings.Join(set.words, ", ")
			switch {
			case label == "":
				label = s.Name
			case len(args) > 1:
				label = s.Name + ", " + label
			}
			out = append(out, subject{label: label, scenario: v})
		}
	}
	return out, unequal(out)
}

// isFolder tells whether a name is that of a folder: of results, for scenarios are files.
func isFolder(name string) bool {
	s, err := os.Stat(name)
	return err == nil && s.IsDir()
}

// keptSubject returns what a folder of results holds, by the folder's name.
func keptSubject(folder string) (subject, error) {
	r, err := report.ReadResult(folder)
	if err != nil {
		return subject{}, badInput{err}
	}
	s, err := scenarios.Load(filepath.Join(folder, report.ScenarioFile))
	if err != nil {
		return subject{}, err
	}
	return subject{label: filepath.Base(filepath.Clean(folder)), scenario: s, kept: r}, nil
}

// unequal returns an error if two subjects have the same name.
func unequal(subjects []subject) error {
	seen := make(map[string]bool, len(subjects))
	for _, s := range subjects {
		if seen[s.label] {
			return inputErrorf("two settings are called %q; want different names, such as different scenarios or values", s.label)
		}
		seen[s.label] = true
	}
	return nil
}

// axis is a key and the values that it takes in turn.
type axis struct {
	key    string
	values []string
}

// parseVary reads key=value,value,... Commas within brackets, braces and quotes
// belong to the value.
func parseVary(vary []string) ([]axis, error) {
	var axes []axis
	for _, text := range vary {
		key, list, ok := strings.Cut(text, "=")
		values := sweep.Values(list)
		if !ok || key == "" || slices.Contains(values, "") {
			return nil, inputErrorf("--vary %s; want a key and its values, such as --vary policy.batch=vllm,sarathi", text)
		}
		axes = append(axes, axis{strings.TrimSpace(key), values})
	}
	return axes, nil
}

// combination is one value for each axis.
type combination struct{ sets, words []string }

// product returns all combinations of the values, the last axis fastest.
func product(axes []axis) []combination {
	all := []combination{{}}
	for _, x := range axes {
		var next []combination
		for _, c := range all {
			for _, v := range x.values {
				next = append(next, combination{
					sets:  append(slices.Clone(c.sets), x.key+"="+v),
					words: append(slices.Clone(c.words), word(x.key, v)),
				})
			}
		}
		all = next
	}
	return all
}

// word names a setting: strings speak for themselves, numbers want their key.
func word(key, value string) string {
	bare := strings.Trim(value, `"`)
	if bare != "" && (bare[0] < '0' || bare[0] > '9') && bare != "true" && bare != "false" && bare[0] != '-' && bare[0] != '.' {
		return bare
	}
	return key[strings.LastIndex(key, ".")+1:] + " " + bare
}

// questions is the name space of the ids of questions that take many runs.
var questions = uuid.NewSHA1(uuid.NameSpaceURL, []byte("orrery:question"))

// questionID names a question: the same verb, settings, seeds and version of the
// program have the same.
func questionID(verb string, subjects []subject, seeds []uint64) string {
	text := fmt.Sprintln(verb, seeds)
	for _, s := range subjects {
		text += fmt.Sprintln(s.label, s.scenario.RunID(s.scenario.Seed))
		if s.kept != nil && s.kept.Measurement != nil {
			text += fmt.Sprintln(s.kept.Measurement.Began)
		}
	}
	return uuid.NewSHA1(questions, []byte(text)).String()
}

// question is what every result of many runs says about itself.
type question struct {
	Schema   int      `json:"schema"`
	Command  string   `json:"command"`
	RunID    string   `json:"run_id"`
	Version  string   `json:"version"`
	Settings []string `json:"settings"`
	Seeds    []uint64 `json:"seeds"`
	Partial  bool     `json:"partial"`
}

func newQuestion(verb string, subjects []subject, seeds []uint64) question {
	q := question{Schema: 1, Command: verb, RunID: questionID(verb, subjects, seeds), Version: scenarios.Version(), Seeds: seeds}
	for _, s := range subjects {
		q.Settings = append(q.Settings, s.label)
	}
	return q
}

// keep adds to a folder what repeats the question, and the answer.
func keep(folder *report.Folder, subjects []subject, answer any, text string) error {
	for i, s := range subjects {
		name := fmt.Sprintf("scenario-%d.toml", i+1)
		if len(subjects) == 1 {
			name = report.ScenarioFile
		}
		folder.Write(name, s.scenario.Resolved())
	}
	data, err := encode(answer)
	if err != nil {
		return err
	}
	folder.Write(report.ResultFile, data)
	folder.Write("table.txt", []byte(text))
	return folder.Commit()
}

// show prints the answer to a question of many runs.
func (a *app) show(answer any, text string, asJSON bool, folder string) error {
	if asJSON {
		data, err := encode(answer)
		if err != nil {
			return err
		}
		if _, err = a.out.Write(data); err != nil {
			return err
		}
		a.note("results in %s", folder)
		return nil
	}
	_, err := fmt.Fprintf(a.out, "%s\nresults in %s\n", text, folder)
	return err
}
