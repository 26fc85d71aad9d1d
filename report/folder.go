package report

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"orrery/cluster"
	"orrery/internal/whole"
	"orrery/report/chart"
	"orrery/report/rows"
	"orrery/report/timeline"
)

// ResultFile and ScenarioFile are the files that every result folder has. CurvesFile
// has the distributions of a measurement, which cannot be had again as those of a
// simulation can.
const (
	ResultFile   = "result.json"
	ScenarioFile = "scenario.toml"
	CurvesFile   = "curves.json"
)

// FolderName returns the default name of a run's folder: sorted by time, and unique
// by the run's id.
func FolderName(at time.Time, runID string) string {
	return at.UTC().Format("20060102-150405") + "-" + runID[:min(8, len(runID))]
}

// Folder is the folder of a run's results. Its files are written to a hidden folder
// beside it, which takes its name when everything is complete: readers see all of
// it or nothing, and two runs never write into each other's files.
//
// Make one with [CreateFolder] before the run, so that a bad path is known early.
// Add what is wanted with the other methods, and end with [Folder.Commit] or
// [Folder.Abort]; Abort after Commit does nothing, so it can be deferred.
type Folder struct {
	path, temp string
	replace    bool
	rows       []*rows.File
	timelines  []*timelineFile
	err        error // the first error
}

type timelineFile struct {
	*timeline.Writer
	file *whole.File
}

// CreateFolder begins the folder that will appear at path. If a folder of results is
// there already it is replaced on Commit, provided that replace is set; what is not
// a folder of results is never replaced.
func CreateFolder(path string, replace bool) (*Folder, error) {
	path = filepath.Clean(path)
	switch entries, err := os.ReadDir(path); {
	case errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0:
	case err != nil:
		return nil, whole.Error(path, err)
	case !replace:
		return nil, fmt.Errorf("cannot write %s: it is there already; name another folder or remove it", path)
	default:
		if _, err := os.Stat(filepath.Join(path, ResultFile)); err != nil {
			return nil, fmt.Errorf("cannot replace %s: it has no %s, so it is not a folder of results; name another folder", path, ResultFile)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, whole.Error(path, err)
	}
	temp, err := os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err == nil {
		err = os.Chmod(temp, 0o755)
	}
	if err != nil {
		return nil, whole.Error(path, err)
	}
	return &Folder{path: path, temp: temp, replace: replace}, nil
}

// Path returns where the folder is, or will be.
func (f *Folder) Path() string { return f.path }

// keep remembers the first error, with the folder's name for its hidden one.
func (f *Folder) keep(err error) {
	if f.err == nil && err != nil {
		f.err = whole.Error(f.path, cause(err))
	}
}

// cause returns the innermost error, which says why without saying where.
func cause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// Write adds a file with the given contents.
func (f *Folder) Write(name string, data []byte) {
	if f.err == nil {
		f.keep(whole.Write(filepath.Join(f.temp, name), data))
	}
}

// File adds a file that write writes, given the path.
func (f *Folder) File(name string, write func(path string) error) {
	if f.err == nil {
		f.keep(write(filepath.Join(f.temp, name)))
	}
}

// Requests adds a file of one row per request, in the format of the extension of
// its name, .csv or .parquet, and returns the recorder that writes it.
func (f *Folder) Requests(name string) (cluster.Recorder, error) {
	r, err := rows.Create(filepath.Join(f.temp, name))
	if err != nil {
		f.keep(err)
		return nil, f.err
	}
	f.rows = append(f.rows, r)
	return r, nil
}

// Timeline adds a timeline, as Chrome's JSON if its name ends in .json and
// otherwise as Perfetto's protobuf, and returns the recorder that writes it. Leave it
// to Commit to close it.
func (f *Folder) Timeline(name string, window timeline.Window) (*timeline.Writer, error) {
	file, err := whole.Create(filepath.Join(f.temp, name))
	if err != nil {
		f.keep(err)
		return nil, f.err
	}
	format := timeline.NewPerfetto
	if filepath.Ext(name) == ".json" {
		format = timeline.NewChrome
	}
	t := &timelineFile{format(file, window), file}
	f.timelines = append(f.timelines, t)
	return t.Writer, nil
}

// Result adds result.json and the plots, each as PNG and SVG.
func (f *Folder) Result(r *Result) {
	b, err := r.JSON()
	f.keep(err)
	f.Write(ResultFile, b)
	for _, p := range r.Plots() {
		f.Plot(p)
	}
}

// Plot adds a picture as PNG and SVG.
func (f *Folder) Plot(p Plot) {
	f.render(p.Name+".png", p.Chart, chart.PNG)
	f.render(p.Name+".svg", p.Chart, chart.SVG)
}

func (f *Folder) render(name string, c chart.Charter, format chart.Format) {
	if f.err != nil {
		return
	}
	file, err := whole.Create(filepath.Join(f.temp, name))
	if err != nil {
		f.keep(err)
		return
	}
	defer file.Abort()
	if err := c.Render(io.Writer(file), format); err != nil {
		f.keep(err)
		return
	}
	f.keep(file.Commit())
}

// Commit completes all files and puts the folder in its place. If anything failed it
// removes all of it and returns the first error. If another run has taken the
// name in the meantime, the folder gets a number behind its name; see Path.
func (f *Folder) Commit() error {
	if f.temp == "" {
		return f.err
	}
	defer f.Abort()
	for _, r := range f.rows {
		f.keep(r.Commit())
	}
	for _, t := range f.timelines {
		f.keep(t.Close())
		f.keep(t.file.Commit())
	}
	if f.err == nil {
		f.keep(f.place())
	}
	return f.err
}

// place moves the hidden folder to its path.
func (f *Folder) place() error {
	var old string
	if f.replace {
		old = f.temp + ".old"
		if err := os.Rename(f.path, old); errors.Is(err, os.ErrNotExist) {
			old = ""
		} else if err != nil {
			return err
		}
	}
	wanted := f.path
	for n := 2; ; n++ {
		if s, err := os.Lstat(f.path); err == nil && s.IsDir() {
			os.Remove(f.path) // if it is empty; else it stays
		}
		err := os.Rename(f.temp, f.path)
		if err == nil {
			break
		}
		if _, exists := os.Stat(f.path); exists != nil || n == 100 {
			if old != "" {
				err = errors.Join(err, os.Rename(old, wanted))
			}
			return err
		}
		f.path = wanted + "-" + strconv.Itoa(n)
	}
	f.temp = ""
	if old != "" {
		return os.RemoveAll(old)
	}
	return nil
}

// Abort gives the folder up and removes what was written.
func (f *Folder) Abort() {
	if f.temp == "" {
		return
	}
	for _, r := range f.rows {
		r.Abort()
	}
	for _, t := range f.timelines {
		t.file.Abort()
	}
	os.RemoveAll(f.temp)
	f.temp = ""
	if f.err == nil {
		f.err = fmt.Errorf("%s: given up", f.path)
	}
}
