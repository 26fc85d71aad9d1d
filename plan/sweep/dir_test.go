package sweep

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"orrery/report"
)

// aResult has figures of all kinds: whole, broken, and those that do not exist.
func aResult() Result {
	f := make(Figures, len(columns))
	for i := range f {
		f[i] = report.Number(float64(i) / 3)
	}
	f[1] = 0
	return Result{Figures: f, Limit: report.Compute, Doubt: "a <doubt> & more"}
}

const aKey = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// A result comes back as it was put, failures too.
func TestDirGivesWhatItGot(t *testing.T) {
	d := &Dir{Path: t.TempDir(), Note: func(line string) { t.Error(line) }}
	if _, ok, err := d.Get(aKey); ok || err != nil {
		t.Fatalf("an empty folder has a result: %v, %v", ok, err)
	}
	for _, want := range []Result{aResult(), {Error: "the table of costs ends at 4096 tokens"}} {
		if err := d.Put(aKey, want); err != nil {
			t.Fatal(err)
		}
		got, ok, err := d.Get(aKey)
		if err != nil || !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, %v; want %+v", got, ok, err, want)
		}
	}
}

// Whatever is cut off a file or changed in it, the result is not believed, and the user is told.
func TestDirTellsDamage(t *testing.T) {
	said := 0
	d := &Dir{Path: t.TempDir(), Note: func(line string) {
		said++
		if !strings.Contains(line, aKey) || strings.Contains(line, "\n") {
			t.Errorf("said %q", line)
		}
	}}
	if err := d.Put(aKey, aResult()); err != nil {
		t.Fatal(err)
	}
	file := d.file(aKey)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	try := func(data []byte, what string) {
		t.Helper()
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		before := said
		if _, ok, err := d.Get(aKey); ok || err != nil || said != before+1 {
			t.Errorf("%s: believed %v, %v, said %d", what, ok, err, said-before)
		}
	}
	for n := range len(whole) - 2 { // without its last byte, a line feed, it is whole
		try(whole[:n], "cut off")
	}
	try(make([]byte, len(whole)), "zeros")
	try([]byte(strings.Replace(string(whole), aKey, strings.Repeat("f", 64), 1)), "of another run")
	try([]byte(strings.Replace(string(whole), `"end_s":`, `"end_s":1`, 1)), "another figure")
}
