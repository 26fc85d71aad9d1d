package sweep

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"orrery/scenarios"
)

// small is a scenario whose runs take a millisecond or two.
const small = `
name = "small"
[model]
name = "mistral-7b"
[hardware]
device = "a100-sxm-80gb"
price_per_hour = 2.0
[policy]
batch = "vllm"
[traffic]
rate = 2.0
requests = 20
lengths = "fixed"
prompt = 200
output = 10
[slo]
ttft = "1s"
[sweep]
vary = ["traffic.rate=1.0,4.0", "policy.batch=vllm,sarathi,no-such", "slo.ttft=100ms..1s:2", "traffic.prompt=100..200"]
sample = 2
`

func smallScenario(t testing.TB, sets ...string) *scenarios.Scenario {
	t.Helper()
	s, err := scenarios.Parse("small.toml", []byte(small), sets...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// planned is the sweep of the small scenario: 24 settings, a third of them refused.
func planned(t testing.TB, seeds ...uint64) *Sweep {
	t.Helper()
	s := smallScenario(t)
	spec := Spec{Sample: s.Sweep.Sample, Seeds: seeds}
	for _, text := range s.Sweep.Vary {
		a, err := ParseAxis(text)
		if err != nil {
			t.Fatal(err)
		}
		spec.Axes = append(spec.Axes, a)
	}
	w, err := Plan(t.Context(), s, spec)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// files returns what a sweep leaves for readers.
func files(t testing.TB, folder string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range []string{ManifestFile, CSVFile, ParquetFile, SummaryFile} {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(data)
	}
	return out
}

// runIn runs a sweep into a folder and fails the test unless it is complete.
func runIn(t testing.TB, w *Sweep, folder string, jobs int) *Outcome {
	t.Helper()
	dir := &Dir{Path: folder}
	o, err := w.Run(t.Context(), &Local{Jobs: jobs, Store: dir}, dir, Shard{}, nil)
	if err != nil || !o.Complete {
		t.Fatalf("%+v, %v", o, err)
	}
	return o
}

// same fails the test unless a folder has the files that are wanted, to the byte.
func same(t *testing.T, what, folder string, want map[string]string) {
	t.Helper()
	for name, data := range files(t, folder) {
		if data != want[name] {
			t.Errorf("%s: %s differs", what, name)
		}
	}
}

// The tables are the same to the byte, whoever ran what in which order and however often it
// was interrupted.
func TestTablesAreTheSameWhateverHappened(t *testing.T) {
	w := planned(t, 7, 8, 9)
	first := t.TempDir()
	o := runIn(t, w, first, 1)
	want := files(t, first)
	if len(o.Failed) != 24 || !strings.Contains(o.Failed[0].Error, "no-such") {
		t.Errorf("%d runs failed, the first with %q; want those of a policy that is not there", len(o.Failed), o.Failed[0].Error)
	}
	if n := strings.Count(want[CSVFile], "\n"); n != 1+24*3 {
		t.Errorf("%d lines; want a name line and 72 runs", n)
	}

	t.Run("eight at a time", func(t *testing.T) {
		folder := t.TempDir()
		runIn(t, planned(t, 7, 8, 9), folder, 8)
		same(t, "eight", folder, want)
	})
	t.Run("again", func(t *testing.T) {
		if o := runIn(t, w, first, 2); o.Answered != 48 {
			t.Errorf("%d answered; want all 48 that can be run", o.Answered)
		}
		same(t, "again", first, want)
	})
	t.Run("any order", func(t *testing.T) {
		folder := t.TempDir()
		dir := &Dir{Path: folder}
		o, err := w.Run(t.Context(), &shuffled{}, dir, Shard{}, nil)
		if err != nil || !o.Complete {
			t.Fatalf("%+v, %v", o, err)
		}
		same(t, "any order", folder, want)
	})
	t.Run("parts in a folder", func(t *testing.T) {
		dir := &Dir{Path: t.TempDir()}
		for part := range 3 {
			o, err := w.Run(t.Context(), &Local{Store: dir}, dir, Shard{part + 1, 3}, nil)
			if err != nil || o.Complete != (part == 2) {
				t.Fatalf("part %d: %+v, %v", part+1, o, err)
			}
		}
		same(t, "parts", dir.Path, want)
	})
	t.Run("parts in folders", func(t *testing.T) {
		folders := make([]string, 3)
		for part := range folders {
			folders[part] = t.TempDir()
			dir := &Dir{Path: folders[part]}
			if _, err := w.Run(t.Context(), &Local{Store: dir}, dir, Shard{part + 1, 3}, nil); err != nil {
				t.Fatal(err)
			}
		}
		into := filepath.Join(t.TempDir(), "all")
		if _, o, err := Merge(folders[:2], into, nil); err != nil || o.Complete || o.Missing == 0 {
			t.Fatalf("two of three parts: %+v, %v", o, err)
		}
		if _, o, err := Merge(folders, into, nil); err != nil || !o.Complete {
			t.Fatalf("%+v, %v", o, err)
		}
		same(t, "merged", into, want)
	})
	t.Run("interrupted", func(t *testing.T) {
		dir := &Dir{Path: t.TempDir()}
		for times := 1; ; times++ {
			ctx, cancel := context.WithCancel(t.Context())
			o, err := w.Run(ctx, &interrupting{Local{Jobs: 2, Store: dir}, cancel, 11}, dir, Shard{}, nil)
			cancel()
			if err == nil {
				if !o.Complete || times < 4 {
					t.Errorf("complete %v after %d times", o.Complete, times)
				}
				break
			}
			if !errors.Is(err, context.Canceled) || o.Complete {
				t.Fatalf("%+v, %v", o, err)
			}
			if _, err := os.Stat(filepath.Join(dir.Path, CSVFile)); !errors.Is(err, fs.ErrNotExist) {
				t.Fatal("a table of part of the runs")
			}
		}
		same(t, "interrupted", dir.Path, want)
	})
	t.Run("torn", func(t *testing.T) {
		folder := t.TempDir()
		runIn(t, w, folder, 2)
		torn := w.Cells[4].Key
		var said []string
		dir := &Dir{Path: folder, Note: func(line string) { said = append(said, line) }}
		if err := os.Truncate(dir.file(torn), 300); err != nil {
			t.Fatal(err)
		}
		o, err := w.Run(t.Context(), &Local{Store: &Dir{Path: folder}}, dir, Shard{}, nil)
		if err != nil || o.Answered != 47 {
			t.Fatalf("%+v, %v", o, err)
		}
		if len(said) != 1 || !strings.Contains(said[0], torn) {
			t.Errorf("said %q", said)
		}
		same(t, "torn", folder, want)
		if _, ok, err := dir.Get(torn); !ok || err != nil {
			t.Errorf("still torn: %v", err)
		}
	})
}

// shuffled is an engine on another machine: the rows come in any order, some twice, and its
// results are not in the folder.
type shuffled struct{}

func (shuffled) Run(ctx context.Context, cells []Cell, sink func(Row)) error {
	rows, err := RunBatch(ctx, cells, memory{})
	if err != nil {
		return err
	}
	rows = append(rows, rows[3:7]...)
	random := rand.New(rand.NewPCG(1, 2))
	random.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	for _, r := range rows {
		sink(r)
	}
	return nil
}

// memory is a store of what is at hand.
type memory map[string]Result

func (m memory) Get(key string) (Result, bool, error) { r, ok := m[key]; return r, ok, nil }
func (m memory) Put(key string, r Result) error       { m[key] = r; return nil }

// interrupting cancels the sweep after some rows.
type interrupting struct {
	Local
	cancel func()
	after  int32
}

func (e *interrupting) Run(ctx context.Context, cells []Cell, sink func(Row)) error {
	var n atomic.Int32
	return e.Local.Run(ctx, cells, func(r Row) {
		sink(r)
		if n.Add(1) == e.after {
			e.cancel()
		}
	})
}

// A larger sweep of a folder runs what is new, and its tables take the place of the old ones.
func TestSweepGrows(t *testing.T) {
	folder := t.TempDir()
	runIn(t, planned(t, 1), folder, 2)
	old := files(t, folder)
	if o := runIn(t, planned(t, 1, 2), folder, 2); o.Answered != 16 || len(o.Rows) != 48 {
		t.Errorf("%d answered of %d rows; want 16 of 48", o.Answered, len(o.Rows))
	}
	fresh := t.TempDir()
	runIn(t, planned(t, 1, 2), fresh, 2)
	same(t, "grown", folder, files(t, fresh))
	runIn(t, planned(t, 1), folder, 2)
	same(t, "shrunk", folder, old)
}

// A run that failed is kept for others to see, and tried again by whoever asks for it again.
func TestFailedRunsAreTriedAgain(t *testing.T) {
	w := planned(t, 1, 2)
	folder := t.TempDir()
	dir := &Dir{Path: folder}
	broken := w.Cells[2]
	o, err := w.Run(t.Context(), &failing{Local{Store: dir}, broken.Key}, dir, Shard{}, nil)
	if err != nil || !o.Complete || len(o.Failed) != 1+16 || o.Failed[0].Key != broken.Key {
		t.Fatalf("%d failed, %v; want the one and those refused", len(o.Failed), err)
	}
	lines := strings.Split(files(t, folder)[CSVFile], "\n")
	if !strings.Contains(lines[3], ",,,,it broke,"+broken.Key) {
		t.Errorf("the row of the failed run is %s", lines[3])
	}
	into := t.TempDir()
	if _, o, err := Merge([]string{folder}, into, nil); err != nil || !o.Complete || len(o.Failed) != 17 {
		t.Errorf("merged: %+v, %v", o, err)
	}
	if o := runIn(t, w, folder, 2); o.Answered != 31 || len(o.Failed) != 16 {
		t.Errorf("%d answered, %d failed; want all but one answered, and only refused ones failed", o.Answered, len(o.Failed))
	}
	fresh := t.TempDir()
	runIn(t, w, fresh, 2)
	same(t, "tried again", folder, files(t, fresh))
	if _, _, err := Merge([]string{into, folder}, into, nil); err != nil {
		t.Fatal(err)
	}
	same(t, "merged with what was tried again", into, files(t, fresh))
}

// failing is an engine one of whose runs fails.
type failing struct {
	Local
	key string
}

func (e *failing) Run(ctx context.Context, cells []Cell, sink func(Row)) error {
	return e.Local.Run(ctx, slices.DeleteFunc(slices.Clone(cells), func(c Cell) bool {
		if c.Key == e.key {
			sink(c.row(Result{Error: "it broke"}))
		}
		return c.Key == e.key
	}), sink)
}

// A panic of a run is an error of that run.
func TestPanicIsARowsError(t *testing.T) {
	if r := run(t.Context(), nil, 1); !strings.Contains(r.Error, "a mistake in this program") || r.Figures != nil || strings.Contains(r.Error, "\n") {
		t.Errorf("%+v", r)
	}
}

// full is a disk that is full after some results.
type full struct {
	memory
	room int
}

var errFull = errors.New("cannot write results: no space left on device")

func (f *full) Put(key string, r Result) error {
	if f.room--; f.room < 0 {
		return errFull
	}
	return f.memory.Put(key, r)
}

// A disk that is full ends the sweep with that error, once.
func TestFullDiskEndsTheSweep(t *testing.T) {
	w := planned(t, 1)
	dir := &Dir{Path: t.TempDir()}
	o, err := w.Run(t.Context(), &Local{Jobs: 1, Store: &full{memory{}, 5}}, dir, Shard{}, nil)
	if !errors.Is(err, errFull) || len(o.Rows) != 5+8 || o.Complete {
		t.Errorf("%d rows, %v; want the 5 that had room and the 8 refused", len(o.Rows), err)
	}
}

// A store that says no to the folder of the sweep ends it as well.
func TestUnwritableFolder(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(folder, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	w := planned(t, 1)
	dir := &Dir{Path: folder}
	if _, err := w.Run(t.Context(), &Local{Store: dir}, dir, Shard{}, nil); err == nil || !strings.Contains(err.Error(), "cannot write") {
		t.Errorf("error %v", err)
	}
}

// Every cell belongs to one part, and the parts are about equal.
func TestShardsPartition(t *testing.T) {
	seeds := make([]uint64, 100)
	for i := range seeds {
		seeds[i] = uint64(i)
	}
	w := planned(t, seeds...)
	const of = 8
	var sizes [of]int
	for i := range w.Cells {
		owners := 0
		for part := range of {
			if (Shard{part + 1, of}).Has(&w.Cells[i]) {
				owners++
				sizes[part]++
			}
		}
		if owners != 1 {
			t.Fatalf("cell %d belongs to %d parts", i, owners)
		}
	}
	mean := len(w.Cells) / of
	if slices.Min(sizes[:]) < mean*3/4 || slices.Max(sizes[:]) > mean*5/4 { // five standard deviations
		t.Errorf("parts of %v cells", sizes)
	}
	for _, bad := range []string{"", "1", "0/2", "3/2", "1/0", "a/b", "1/2/3", "-1/2"} {
		if s, err := ParseShard(bad); err == nil {
			t.Errorf("%q is part %v", bad, s)
		}
	}
}

// A run is named by what it depends on and by nothing else.
func TestKeySaysWhatARunDependsOn(t *testing.T) {
	key := func(seed uint64, sets ...string) string {
		t.Helper()
		one, err := smallScenario(t).Single(sets...)
		if err != nil {
			t.Fatal(err)
		}
		k, err := Key(one, seed)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	base := key(1)
	for name, other := range map[string]string{"seed": key(2), "rate": key(1, "traffic.rate=3.0"), "policy": key(1, "policy.batch=sarathi")} {
		if other == base {
			t.Errorf("%s: the same key", name)
		}
	}
	if key(1, "traffic.rate=2") != base {
		t.Error("the same rate written otherwise has another key")
	}
	elsewhere, err := smallScenario(t, "seed=9", "sweep.sample=5", "compare.seeds=9", `description="other words"`, "output.plots=false").Single()
	if err != nil {
		t.Fatal(err)
	}
	if k, err := Key(elsewhere, 1); err != nil || k != base {
		t.Errorf("what is asked of a run changes its key (%v)", err)
	}

	trace := filepath.Join(t.TempDir(), "trace.csv")
	traced := func(data string) string {
		if err := os.WriteFile(trace, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := scenarios.Parse("s.toml", []byte(small[:strings.Index(small, "[traffic]")]+`
[traffic]
source = "replay"
file = "`+trace+`"
`))
		if err != nil {
			t.Fatal(err)
		}
		k, err := Key(s, 1)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	const head = "arrived_at_s,prompt_tokens,output_tokens\n"
	if a, b := traced(head+"0.0,10,5\n1.0,10,5\n"), traced(head+"0.0,10,5\n1.0,10,6\n"); a == b {
		t.Error("another trace of the same name has the same key")
	}
}

// A cell that was planned by another build, or changed on its way, is not run: its result would
// lie under a key that is not its own.
func TestBatchRefusesAKeyThatIsNotItsOwn(t *testing.T) {
	w := planned(t, 1)
	good := w.Cells[0]
	bad := good
	bad.Seed++
	store := memory{}
	rows, err := RunBatch(t.Context(), []Cell{bad, good}, store)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(rows[0].Error, "another build") || rows[1].Error != "" || len(store) != 1 {
		t.Errorf("errors %q and %q, %d results kept", rows[0].Error, rows[1].Error, len(store))
	}
	bad.Scenario = bytes.Replace(good.Scenario, []byte("rate = 1.0"), []byte("rate = 1.5"), 1)
	rows, err = RunBatch(t.Context(), []Cell{bad}, memory{})
	if err != nil || rows[0].Error == "" {
		t.Errorf("a changed scenario was run: %+v, %v", rows, err)
	}
}

// A scenario that comes from another machine may not have files of this one read.
func TestClosedBatchReadsNoFile(t *testing.T) {
	for _, lines := range []string{
		"[traffic]\nsource = \"replay\"\nfile = \"/etc/passwd\"\n",
		"[traffic]\nrate = 1.0\nrequests = 5\nlengths = \"file\"\nfile = \"/etc/passwd\"\n",
	} {
		text := small[:strings.Index(small, "[traffic]")] + lines
		rows, err := RunClosedBatch(t.Context(), []Cell{{Key: strings.Repeat("0", 64), Scenario: []byte(text)}}, memory{})
		if err != nil || !strings.Contains(rows[0].Error, "names a file") || strings.Contains(rows[0].Error, "root") {
			t.Errorf("%+v, %v", rows, err)
		}
	}
	w := planned(t, 1)
	rows, err := RunClosedBatch(t.Context(), w.Cells[:1], memory{})
	if err != nil || rows[0].Error != "" {
		t.Errorf("a scenario without files: %+v, %v", rows, err)
	}
}

// BenchmarkCell is what a sweep costs beside its runs: planning, keys, a file on the disk and
// the tables. About 0.5 ms of processor and 1 to 4 ms of waiting for the disk, in which others
// run.
func BenchmarkCell(b *testing.B) {
	seeds := make([]uint64, 50)
	for i := range seeds {
		seeds[i] = uint64(i)
	}
	for b.Loop() {
		w := planned(b, seeds...)
		folder := b.TempDir()
		dir := &Dir{Path: folder}
		if _, err := w.Run(b.Context(), &answering{dir}, dir, Shard{}, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/(16*50), "us/cell")
}

// answering is an engine whose runs take no time.
type answering struct{ dir *Dir }

func (e *answering) Run(_ context.Context, cells []Cell, sink func(Row)) error {
	for i := range cells {
		r := aResult()
		if err := e.dir.Put(cells[i].Key, r); err != nil {
			return err
		}
		sink(cells[i].row(r))
	}
	return nil
}
