package sweep

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"orrery/internal/whole"
)

// resultsFolder is the folder of single results within that of a sweep.
const resultsFolder = "results"

// Dir is a [Store] in a folder: results/xx/KEY.json, where xx are the first digits of the key.
// A file appears whole or not at all, and its name is what it was computed from, so any number
// of sweeps, shards and machines may share the folder.
type Dir struct {
	Path string
	// Note, if set, is told in one line of a file that was found damaged, and is computed
	// again. It must be safe for concurrent use.
	Note func(line string)
}

// record is a result as it is stored. The sum tells a damaged file.
type record struct {
	Key    string          `json:"key"`
	Sum    string          `json:"sha256"` // of the result's bytes
	Result json.RawMessage `json:"result"`
}

func (d *Dir) file(key string) string {
	return filepath.Join(d.Path, resultsFolder, key[:min(2, len(key))], key+".json")
}

// Get implements [Store].
func (d *Dir) Get(key string) (Result, bool, error) {
	data, err := os.ReadFile(d.file(key))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Result{}, false, nil
	case err != nil:
		return Result{}, false, fmt.Errorf("cannot read a result: %w", err)
	}
	r, err := decode(key, data)
	if err != nil {
		if d.Note != nil {
			d.Note(fmt.Sprintf("%s is damaged (%v); it is computed again", d.file(key), err))
		}
		return Result{}, false, nil
	}
	return r, true, nil
}

// Put implements [Store]. The result is on the disk when it returns.
func (d *Dir) Put(key string, r Result) error {
	data, err := encode(key, r)
	if err != nil {
		return err
	}
	file := d.file(key)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return whole.Error(file, err)
	}
	return whole.WriteSynced(file, data)
}

// encode returns a result as it is stored, one line.
func encode(key string, r Result) ([]byte, error) {
	result, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(result)
	data, err := json.Marshal(record{key, hex.EncodeToString(sum[:]), result})
	return append(data, '\n'), err
}

// decode reads what encode wrote. The error says what is wrong with it.
func decode(key string, data []byte) (r Result, err error) {
	var rec record
	if err := json.Unmarshal(data, &rec); err != nil {
		return r, errors.New("not whole")
	}
	sum := sha256.Sum256(bytes.TrimSpace(rec.Result))
	switch {
	case rec.Key != key:
		return r, errors.New("the result of another run")
	case hex.EncodeToString(sum[:]) != rec.Sum:
		return r, errors.New("its check sum is wrong")
	}
	return r, json.Unmarshal(rec.Result, &r)
}
