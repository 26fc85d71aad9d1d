package scenarios

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// goodImages asks for two kinds of image whose costs are measured, and one that a
// pipeline makes.
const goodImages = `description = "two pools"
[traffic]
rate = 1.0
requests = 50
[[class]]
name = "draft"
share = 0.5
deadline = "20s"
alternatives = ["quick"]
cost = { service = [1.0, 1.5] }
[[class]]
name = "quick"
cost = { step = 0.1, step_image = 0.2 }
steps = 4
[[class]]
name = "fine"
pipeline = "sd15"
size = "512x512"
steps = 10
share = 0.5
[[pool]]
name = "one"
policy = "batch-timeout"
max_batch = 2
timeout = "1s"
classes = ["draft"]
[[pool]]
name = "two"
device = "rtx-2080-ti-11gb"
count = 2
max_batch = 2
classes = ["fine"]
price_per_hour = 0.2
`

// Each mistake in what is asked for and what serves it is met by one line that says where
// it is and what would be right.
func TestErrorsOfImages(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"size that no latent has", `"512x512"`, `"512x500"`, `s.toml:18: class[2].size: sd15: size 512x500: want sides that are multiples of 64, such as 512x512`},
		{"size in words", `"512x512"`, `"large"`, `s.toml:18: class[2].size is "large"; want width and height in pixels, such as "1024x576"`},
		{"steps of zero", "steps = 10", "steps = 0", "s.toml:19: class[2].steps: sd15: 0 steps..."},
		{"unknown sampler", "steps = 10", `sampler = "dpm"`, `s.toml:19: class[2].sampler: ...`},
		{"frames of an image", "steps = 10", "frames = 16", "s.toml:19: class[2].frames: sd15: 16 frames..."},
		{"unknown method", "steps = 10", `methods = ["deepcash:3"]`, `s.toml:19: class[2].methods[0]: there is no method named "deepcash"; did you mean deepcache?`},
		{"method that does not fit", "steps = 10", `methods = ["deepcache:0"]`, "s.toml:15: pool two: sd15: deepcache with interval 0 and branch 0: want 1 or more, and 0 or more"},
		{"unknown pipeline", `pipeline = "sd15"`, `pipeline = "sd16"`, `s.toml:17: class[2].pipeline: there is no pipeline named "sd16"...`},
		{"no pipeline and no cost", `cost = { service = [1.0, 1.5] }`, "", "s.toml:5: class[0].pipeline is missing; want one of ..."},
		{"both", `cost = { service = [1.0, 1.5] }`, "cost = { service = [1.0, 1.5], step = 0.1 }", "s.toml:10: class[0].cost.service says how long a batch takes in all; want it, or the times of its parts, not both"},
		{"a pipeline that was measured", `steps = 10`, "cost = { step = 0.1 }", "s.toml:19: class[2].cost does not go with a pipeline, which says how long it takes; want one of them removed"},
		{"too large for the card", `"512x512"`, `"4096x4096"`, "s.toml:15: pool two: class fine does not run on rtx-2080-ti-11gb: step: down0/attn0/block0/ff/mul: out of memory: asked for 1280.0 MiB with ..."},
		{"shares that do not sum", "steps = 10\nshare = 0.5", "share = 0.4", "s.toml:19: class[2].share brings the shares of all classes to 0.9; want 1 in all, or [model] and [hardware] for the text that is asked for otherwise"},
		{"shares beyond all", "steps = 10\nshare = 0.5", "share = 0.6", "s.toml:19: class[2].share brings the shares of all classes to 1.1; want at most 1 in all"},
		{"share beyond all", "steps = 10\nshare = 0.5", "share = 1.5", "s.toml:19: class[2].share is 1.5; want a share of arrivals, 0 to 1"},
		{"pool without classes", "classes = [\"fine\"]\n", "", "s.toml:27: pool[1].classes is missing; want the classes that it serves, of draft, quick, fine"},
		{"class without a pool", `classes = ["draft"]`, `classes = ["quick"]`, "s.toml:5: class draft is asked for, but no pool with a device serves it; want it among the classes of a [[pool]], or share = 0.0"},
		{"class that is not there", `classes = ["fine"]`, `classes = ["fin"]`, `s.toml:32: pool[1].classes[0]: there is no class named "fin"; did you mean fine?`},
		{"pool without a device", `device = "rtx-2080-ti-11gb"`, "", "s.toml:27: pool[1].device is missing; want one of ..."},
		{"unknown device", `"rtx-2080-ti-11gb"`, `"rtx-2080-ti"`, `s.toml:29: pool[1].device: there is no device named "rtx-2080-ti"; did you mean ...`},
		{"unknown framework", "count = 2", `framework = "difusers"`, `s.toml:30: pool[1].framework: there is no framework named "difusers"; did you mean ...`},
		{"unknown policy", `"batch-timeout"`, `"batch-timeut"`, `s.toml:23: pool[0].policy: there is no policy of a pool named "batch-timeut"; did you mean batch-timeout?`},
		{"key of another policy", "count = 2", `timeout = "1s"`, `s.toml:30: pool[1].timeout does not apply here; it belongs to policy = "batch-timeout"; want it removed, or that chosen`},
		{"key of none", "count = 2", "number = 2", "s.toml:30: there is no key pool[1].number; keys of [pool[1]] are ..."},
		{"batches of none", "count = 2\nmax_batch = 2", "max_batch = 0", "s.toml:30: pool[1].max_batch is 0; want 1 to 1024"},
		{"two of a name", `name = "two"`, `name = "one"`, `s.toml:28: pool[1].name is "one", as of another one; want each name once`},
		{"cascade without a second", `policy = "batch-timeout"` + "\nmax_batch = 2\ntimeout = \"1s\"\nclasses = [\"draft\"]", `policy = "cascade"` + "\nclasses = [\"draft\", \"quick\"]", `s.toml:23: pool[0].policy is "cascade", but class quick has 0 alternatives; want one, which makes again what the first has not made well`},
		{"alternative that is not there", `["quick"]`, `["quik"]`, `s.toml:9: class[0].alternatives[0]: there is no class named "quik"; did you mean quick?`},
		{"alternative to itself", `["quick"]`, `["draft"]`, "s.toml:9: class[0].alternatives[0] is the class itself; want another one"},
		{"policy of text", "[traffic]", "[policy]\n[traffic]", "s.toml:2: [policy] is about text, which this scenario does not serve; want it removed, or [model] and [hardware] for replicas beside the pools"},
		{"lengths of text", "rate = 1.0", "lengths = \"chat\"\nrate = 1.0", `s.toml:3: traffic.lengths is "chat"; want it removed: images have no lengths`},
		{"conversations", "rate = 1.0\nrequests = 50", "source = \"sessions\"\nsessions = 5\nrate = 1.0", `s.toml:3: traffic.source is "sessions", conversations, which have no place for images; want one of synthetic, replay, closed-loop`},
		{"unknown spread", "[traffic]", "[fleet]\nspread = \"cheap\"\n[traffic]", `s.toml:3: fleet.spread: there is no spread named "cheap"; did you mean cheapest?`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(goodImages, c.old) {
				t.Fatalf("the case replaces %q, which is not there", c.old)
			}
			_, err := Parse("s.toml", []byte(strings.Replace(goodImages, c.old, c.new, 1)))
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%T %v; want an error of one line", err, err)
			}
			got := err.Error()
			if start, open := strings.CutSuffix(c.want, "..."); got != c.want && !(open && strings.HasPrefix(got, start)) {
				t.Errorf("said\n\t%s\nwant\n\t%s", got, c.want)
			}
			if strings.ContainsAny(got, "\n\r") {
				t.Error("more than one line")
			}
		})
	}
	if _, err := Parse("s.toml", []byte(goodImages)); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// An override finds a pool or a class by its name.
func TestOverridesByName(t *testing.T) {
	s, err := Parse("s.toml", []byte(goodImages), "pool.two.count=5", "class.fine.steps=7", "pool.two.policy=fifo")
	if err != nil {
		t.Fatal(err)
	}
	if s.Pools[1].Count != 5 || s.Classes[2].Steps != 7 || s.Pools[1].Policy != "fifo" || s.Pools[0].Count != 1 {
		t.Errorf("got %+v and %+v", s.Pools, s.Classes)
	}
	for set, want := range map[string]string{
		"pool.three.count=5": `--set pool.three.count=5: pool: there is no pool named "three"...`,
		"pool.two=5":         "--set pool.two=5: pool.two is 5; want a key of it as well, such as pool.two.count",
		"pool.two.count=-1":  "--set pool.two.count=-1: pool[1].count is -1; want 0 to 100000",
	} {
		_, err := Parse("s.toml", []byte(goodImages), set)
		if start, open := strings.CutSuffix(want, "..."); err == nil || err.Error() != want && !(open && strings.HasPrefix(err.Error(), start)) {
			t.Errorf("%s: %v; want %s", set, err, want)
		}
	}
	v, err := Parse("s.toml", []byte(goodImages+"[[compare.variant]]\nlabel = \"more\"\nset = { pool.two.count = 3 }\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := v.Variants()[0].Scenario.Pools[1].Count; got != 3 || v.Pools[1].Count != 2 {
		t.Errorf("the variant has %d devices, the scenario %d; want 3 and 2", got, v.Pools[1].Count)
	}
}

// Every key of classes and pools meets every hostile value.
func TestHostileImages(t *testing.T) {
	if testing.Short() {
		t.Skip("loads hundreds of scenarios")
	}
	file := filepath.Join(t.TempDir(), "s.toml")
	if err := os.WriteFile(file, []byte(goodImages), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range s.lists() {
		for _, targets := range list.elements {
			name := fields(targets[0])[0].value.String()
			for _, target := range targets {
				for _, f := range fields(target) {
					for _, v := range hostile {
						meet(t, file, []string{list.name + "." + name + "." + f.key + "=" + v})
					}
				}
			}
		}
	}
}

// Shares are met by independent draws that leave the times of arrivals alone.
func TestMixKeepsArrivals(t *testing.T) {
	s, err := Parse("s.toml", []byte(goodImages), "traffic.requests=20000")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := s.Traffic.part.traffic(3, 0).Open()
	if err != nil {
		t.Fatal(err)
	}
	source, err := s.Traffic.part.traffic(3, 0).Open()
	if err != nil {
		t.Fatal(err)
	}
	mixed := s.mix(source, 3)
	count := map[int32]int{}
	for n := 0; ; n++ {
		at, more := mixed.Peek()
		want, _ := plain.Peek()
		if !more {
			break
		}
		if at != want {
			t.Fatalf("request %d comes at %v; without classes at %v", n, at, want)
		}
		r := mixed.Next()
		plain.Next()
		count[r.Class]++
		if want := int32(s.Classes[r.Class-1].Steps); r.Output != want || r.Prompt != 1 {
			t.Fatalf("request %d of class %d asks for %d steps; want %d", n, r.Class, r.Output, want)
		}
	}
	// Four standard deviations of a binomial share.
	if d := count[1] - count[3]; count[2] != 0 || d < -570 || d > 570 {
		t.Errorf("counts by class %v; want 10000 of 1 and 3", count)
	}
}

// Results of a scenario with alternatives say what was published of each, and that the
// rest is unknown.
func TestQualityOfAlternatives(t *testing.T) {
	s, err := Load("images-deadline")
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(s.notes, "\n")
	if !strings.Contains(notes, "published quality of sdxl: sdxl ") || !strings.Contains(notes, "; sdxl-20 ") || !strings.Contains(notes, "; hyper-4 ") {
		t.Errorf("notes are\n%s", notes)
	}
	hyper := s.qualityOf(s.classIndex("hyper-4"))
	list, err := s.jobs[s.classIndex("hyper-4")].Quality()
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range list {
		if !strings.Contains(hyper, q.Metric) || !strings.Contains(hyper, q.Source) {
			t.Errorf("%+v is not in %q", q, hyper)
		}
	}
	if len(list) == 0 && hyper != "unknown" {
		t.Errorf("nothing was published, but the quality is said to be %q", hyper)
	}
}
