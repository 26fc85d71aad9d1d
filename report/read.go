package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ReadResult reads back the result of one run from its folder. Distributions are there
// if the folder has them, as those of measurements have. An error names the file.
func ReadResult(folder string) (*Result, error) {
	path := filepath.Join(folder, ResultFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: has no %s; want the folder of a run's results", folder, ResultFile)
	}
	if err != nil {
		return nil, err
	}
	var kind struct {
		Schema  int    `json:"schema"`
		Command string `json:"command"`
		Format  string `json:"format"`
	}
	if err := json.Unmarshal(data, &kind); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case kind.Command != "" || kind.Format != "":
		return nil, fmt.Errorf("%s: is the answer to another question, not the result of a run or a replay", path)
	case kind.Schema != Schema:
		return nil, fmt.Errorf("%s: has schema %d; this program reads %d", path, kind.Schema, Schema)
	}
	r := new(Result)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, r.readCurves(filepath.Join(folder, CurvesFile))
}

func (r *Result) readCurves(path string) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &r.Curves); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
