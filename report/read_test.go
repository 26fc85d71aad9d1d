package report

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A result reads back as it was written, figures that do not exist included.
func TestResultReadsBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	f, err := CreateFolder(path, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeFolder(t, f); err != nil {
		t.Fatal(err)
	}
	r, err := ReadResult(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(path, ResultFile))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("read back as\n%s\nwritten as\n%s", got, want)
	}
	if len(r.Curves.TTFT) != 0 {
		t.Error("distributions came out of a folder that has none")
	}
	if err := os.WriteFile(filepath.Join(path, CurvesFile), []byte(`{"TTFT":[{"S":0.5,"P":1}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if r, err = ReadResult(path); err != nil || len(r.Curves.TTFT) != 1 || r.Curves.TTFT[0] != (Point{0.5, 1}) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestWhatIsNoResultIsRefused(t *testing.T) {
	for _, x := range []struct{ text, want string }{
		{"", "has no result.json"}, {`{"schema":1,"command":"compare"}`, "another question"}, {`{"schema":99}`, "has schema 99"},
		{`{"schema":1,`, "unexpected end"}, {`[]`, "cannot unmarshal"}, {`{"schema":1,"latency":3}`, "cannot unmarshal"},
	} {
		dir := t.TempDir()
		if x.text != "" {
			if err := os.WriteFile(filepath.Join(dir, ResultFile), []byte(x.text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := ReadResult(dir); err == nil || !strings.Contains(err.Error(), x.want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%q: got %v, want %q", x.text, err, x.want)
		}
	}
}
