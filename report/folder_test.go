package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"orrery/report/timeline"
)

// files lists a folder, hidden files included.
func files(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, e := range entries {
		s = append(s, e.Name())
	}
	return strings.Join(s, " ")
}

// writeFolder runs a toy into a folder with everything on request.
func writeFolder(t *testing.T, f *Folder) error {
	t.Helper()
	y := toy{policy: policies()["sarathi"], blocks: 2000, late: 20 * time.Millisecond}
	cfg := y.config(traffic(300, 60, 2))
	m := NewMetrics(Config{Replicas: Specs(cfg.Replicas), SLO: SLO{TTFT: time.Second, TBT: 20 * time.Millisecond}, WarmUp: 100 * ms})
	csv, err1 := f.Requests("requests.csv")
	pq, err2 := f.Requests("requests.parquet")
	pf, err3 := f.Timeline("timeline.pftrace", timeline.Window{})
	js, err4 := f.Timeline("timeline.json", timeline.Window{})
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	m.Close(y.run(t, traffic(300, 60, 2), m, csv, pq, pf, js).End)
	r := m.Summary()
	r.RunID, r.Scenario, r.Model, r.Device, r.Policy = "0011223344", "toy", "Toy-1B", "1 x TOY-80GB", "sarathi (budget 128)"
	r.Partial = true
	f.Write(ScenarioFile, []byte("# as resolved\n"))
	f.Result(r)
	return f.Commit()
}

func TestFolderAppearsWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "runs", "a")
	f, err := CreateFolder(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Abort()
	if _, err := os.Stat(path); err == nil {
		t.Error("the folder is there before it is complete")
	}
	if err := writeFolder(t, f); err != nil {
		t.Fatal(err)
	}
	if got, want := files(t, path), "latency.png latency.svg over-time.png over-time.svg requests.csv requests.parquet result.json scenario.toml timeline.json timeline.pftrace"; got != want {
		t.Errorf("the folder has %s, want %s", got, want)
	}
	if got := files(t, filepath.Dir(path)); got != "a" {
		t.Errorf("beside it is %q", got)
	}
	b, _ := os.ReadFile(filepath.Join(path, ResultFile))
	var r Result
	if err := json.Unmarshal(b, &r); err != nil || !r.Partial || r.Requests.Finished != 300 || r.Schema != Schema {
		t.Errorf("result.json: %v, %+v", err, r.Requests)
	}
	for _, name := range []string{"latency.png", "over-time.png"} {
		b, _ := os.ReadFile(filepath.Join(path, name))
		if _, err := png.Decode(bytes.NewReader(b)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if keep := os.Getenv("ORRERY_PLOTS"); keep != "" { // to look at them
			os.WriteFile(filepath.Join(keep, name), b, 0o644)
		}
	}
}

func TestFolderIsNotOverwrittenUnasked(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	os.Mkdir(path, 0o755) // an empty folder is as good as none
	f, err := CreateFolder(path, false)
	if err != nil {
		t.Fatal(err)
	}
	f.Write(ResultFile, []byte("1"))
	if err := f.Commit(); err != nil || f.Path() != path {
		t.Fatal(err, f.Path())
	}
	if _, err := CreateFolder(path, false); err == nil || !strings.Contains(err.Error(), "it is there already") {
		t.Errorf("got %v", err)
	}
	f, err = CreateFolder(path, true)
	if err != nil {
		t.Fatal(err)
	}
	f.Write(ResultFile, []byte("2"))
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(filepath.Join(path, ResultFile)); string(b) != "2" || files(t, dir) != "a" {
		t.Errorf("replaced by %q, beside it %q", b, files(t, dir))
	}
	precious := filepath.Join(dir, "thesis")
	os.Mkdir(precious, 0o755)
	os.WriteFile(filepath.Join(precious, "chapter1.tex"), []byte("x"), 0o644)
	if _, err := CreateFolder(precious, true); err == nil || !strings.Contains(err.Error(), "not a folder of results") {
		t.Errorf("got %v", err)
	}
	if _, err := CreateFolder(filepath.Join(precious, "chapter1.tex"), true); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}

// Runs that end at once under one name all keep their results.
func TestFoldersDoNotCollide(t *testing.T) {
	dir := t.TempDir()
	var folders [8]*Folder
	for i := range folders {
		var err error
		if folders[i], err = CreateFolder(filepath.Join(dir, "a"), false); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for i, f := range folders {
		wg.Go(func() {
			f.Write(ResultFile, []byte{byte('0' + i)})
			if err := f.Commit(); err != nil {
				t.Error(err)
			}
			b, err := os.ReadFile(filepath.Join(f.Path(), ResultFile))
			if err != nil || string(b) != string(rune('0'+i)) {
				t.Errorf("run %d finds %q in %s", i, b, f.Path())
			}
		})
	}
	wg.Wait()
	if got, want := files(t, dir), "a a-2 a-3 a-4 a-5 a-6 a-7 a-8"; got != want {
		t.Errorf("there are %q, want %q", got, want)
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	f, err := CreateFolder(filepath.Join(dir, "a"), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Requests("requests.csv"); err != nil {
		t.Fatal(err)
	}
	f.Abort()
	if got := files(t, dir); got != "" {
		t.Errorf("there is %q", got)
	}
	if f.Commit() == nil {
		t.Error("a folder that was given up was committed")
	}
	f, _ = CreateFolder(filepath.Join(dir, "a"), false)
	if _, err := f.Requests("requests.xls"); err == nil || strings.Contains(err.Error(), ".tmp") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
	if err := f.Commit(); err == nil || files(t, dir) != "" {
		t.Errorf("got %v, and %q", err, files(t, dir))
	}
}

func TestFolderName(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 8, 7, 0, time.UTC)
	if got, want := FolderName(at, "3e0c1f6a-9d1b"), "20261122-090807-3e0c1f6a"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
