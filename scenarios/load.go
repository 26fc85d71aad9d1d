package scenarios

import (
	"embed"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"orrery/internal/names"
)

// shipped holds the scenarios that come with the program.
//
//go:embed *.toml papers/sarathi/*.toml robots/*.toml budget/* training/*.toml
var shipped embed.FS

// Names returns the names of the scenarios that come with the program, in
// alphabetical order, such as quickstart and papers/sarathi/yi-34b-chat.
func Names() []string {
	var list []string
	err := fs.WalkDir(shipped, ".", func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && (e.Name() == robotsFolder || e.Name() == budgetFolder || e.Name() == trainingFolder) {
			return fs.SkipDir // of another kind
		}
		if err == nil && !e.IsDir() {
			list = append(list, strings.TrimSuffix(p, ".toml"))
		}
		return err
	})
	if err != nil {
		panic(err) // the folder is part of the program
	}
	slices.Sort(list)
	return list
}

// Load returns the scenario in a file, or the shipped one of a name, with overrides
// as in traffic.rate=2.5 applied in order. Errors are of type [*Error].
func Load(file string, sets ...string) (*Scenario, error) {
	if kind := Kind(file); kind != "" {
		return nil, &Error{File: file, Msg: "is about " + kindOf[kind] + "; want one of requests here"}
	}
	data, err := os.ReadFile(file)
	if err == nil {
		return Parse(file, data, sets...)
	}
	name := strings.TrimSuffix(filepath.ToSlash(file), ".toml")
	for _, n := range []string{name, strings.TrimPrefix(name, "scenarios/")} {
		if data, err := shipped.ReadFile(n + ".toml"); err == nil {
			return Parse(path.Base(n)+".toml", data, sets...)
		}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return nil, &Error{File: file, Msg: "cannot be read: " + err.Error(), Err: err}
	}
	msg := "there is no such file, nor a shipped scenario of that name"
	if near := names.Nearest(name, Names()); len(near) > 0 {
		msg += "; did you mean " + strings.Join(near, " or ") + "?"
	} else {
		msg += "; shipped are " + strings.Join(Names(), ", ")
	}
	return nil, &Error{File: file, Msg: msg, Err: fs.ErrNotExist}
}

// Parse returns the scenario in a TOML text. The name is that of the file it comes
// from: it stands in messages, and relative paths in the text start at its folder.
// Errors are of type [*Error].
func Parse(name string, data []byte, sets ...string) (*Scenario, error) {
	doc, err := parse(name, data)
	if err != nil {
		return nil, err
	}
	return load(doc, sets)
}

// With returns the scenario with more overrides applied.
func (s *Scenario) With(sets ...string) (*Scenario, error) { return load(s.doc.clone(), sets) }

// AtRate returns the scenario with its traffic at another mean rate, in requests (or
// sessions) per second, and without its variants. The error says so if the traffic
// has no rate, as that of a closed loop.
func (s *Scenario) AtRate(rate float64) (*Scenario, error) {
	sets := []string{"traffic.rate=" + floatText(rate)}
	if p, ok := s.Traffic.part.(*replayPart); ok && p.Speed != 0 {
		sets = append(sets, "traffic.speed=0.0") // the rate takes its place
	}
	doc := s.doc.clone()
	doc.drop("compare.variant")
	return load(doc, sets)
}

// Variants returns the variants of [compare], each a scenario of its own.
func (s *Scenario) Variants() []Variant { return slices.Clone(s.variants) }

func load(doc *document, sets []string) (*Scenario, error) {
	for _, set := range sets {
		if err := doc.set(set); err != nil {
			return nil, err
		}
	}
	return resolve(doc)
}

// resolve decodes a document, fills in what it leaves out, looks up its names and
// checks it all.
func resolve(doc *document) (*Scenario, error) {
	base := filepath.Base(doc.name)
	s := &Scenario{
		Name:     strings.TrimSuffix(base, filepath.Ext(base)),
		Seed:     1,
		Hardware: Hardware{Engine: "vllm-v1", Replicas: 1, Tensor: 1, Pipeline: 1, BlockTokens: 16},
		SLO:      SLO{Quantile: 0.99},
		Run:      RunLimits{FirstToken: "prefill"},
		Plan:     Planning{Growth: 1, Seeds: 3},
		Network:  Network{InsideGbps: 2400, Latency: Duration(10 * time.Microsecond)},
		Faults:   Faults{Retry: retries[0].Name.Name, SlowFactor: 2},
		Output:   Output{Plots: true},
		Compare:  Compare{Seeds: 5},
		Capacity: Capacity{Seeds: 5, Tolerance: 0.025},
		Sweep:    Sweep{Method: "latin", Seeds: 3},
		Fleet:    Fleet{Spread: spreads[0].Name.Name, Seeds: 3},
		doc:      doc,
	}
	d := &decoder{doc: doc}
	d.sections(s)
	if err := d.err(); err != nil {
		return nil, err
	}
	for i := range s.Groups {
		s.Groups[i].defaults()
	}
	c := &checker{d: d, s: s}
	s.text = len(s.Pools)+len(s.Classes) == 0 || d.has("model") || d.has("hardware")
	switch {
	case len(s.Groups) > 0:
		s.text = true
		c.groups(s)
	case s.text:
		c.machine(s)
		d.policy(s)
	default:
		c.noText()
	}
	d.traffic(s)
	if err := d.err(); err != nil {
		return nil, err
	}
	c.maxLen = s.Model.MaxLen
	if s.text && len(s.Groups) == 0 {
		c.in("cost").cost(s)
	}
	s.Traffic.part.check(c.in("traffic"))
	c.in("traffic").adapterTraffic(s)
	c.checkRest(s)
	c.classes(s)
	c.pools(s)
	c.tiers(s)
	c.faults(s)
	c.network(s)
	c.planning(s)
	if s.text && len(s.Groups) == 0 {
		c.memory(s)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	c.trial(s)
	c.fit(s)
	c.quality(s)
	c.variants(s)
	if err := d.err(); err != nil {
		return nil, err
	}
	return s, nil
}

// section is one section of a scenario and the structs that take its keys.
type section struct {
	name    string
	targets []any
	absent  bool // in a resolved scenario: nothing to say
}

// sections returns the sections in the order in which they are written.
func (s *Scenario) sections() []section {
	list := []section{
		{name: "model", targets: []any{&s.Model}, absent: s.Model == Model{}},
		{name: "hardware", targets: []any{&s.Hardware}, absent: !s.text},
		{name: "device", targets: []any{&s.Device}, absent: s.Device == Sheet{}},
		{name: "cost", targets: []any{&s.Cost}, absent: !s.text},
		{name: "policy", targets: []any{&s.Policy}, absent: !s.text},
		{name: "traffic", targets: []any{&s.Traffic}},
		{name: "network", targets: []any{&s.Network}, absent: s.Network.Gbps == 0},
		{name: "slo", targets: []any{&s.SLO}},
		{name: "run", targets: []any{&s.Run}},
		{name: "faults", targets: []any{&s.Faults}, absent: !s.Faults.given()},
		{name: "output", targets: []any{&s.Output}},
		{name: "compare", targets: []any{&s.Compare}},
		{name: "capacity", targets: []any{&s.Capacity}},
		{name: "sweep", targets: []any{&s.Sweep}, absent: len(s.Sweep.Vary) == 0},
		{name: "plan", targets: []any{&s.Plan}, absent: len(s.Plan.Candidates) == 0},
		{name: "fleet", targets: []any{&s.Fleet}, absent: len(s.Pools) == 0},
	}
	add := func(name string, parts ...any) {
		i := slices.IndexFunc(list, func(x section) bool { return x.name == name })
		list[i].targets = append(list[i].targets, parts...)
	}
	if s.Cost.part != nil {
		add("cost", s.Cost.part)
	}
	if s.Policy.order != nil {
		add("policy", s.Policy.parts()...)
	}
	if s.Traffic.part != nil {
		add("traffic", s.Traffic.part.parts()...)
	}
	return list
}

// sections decodes the top level and the sections without parts. The others follow
// when what their parts depend on is known.
func (d *decoder) sections(s *Scenario) {
	known := fields(s)
	for key, value := range d.doc.tree {
		i := slices.IndexFunc(known, func(f field) bool { return f.key == key })
		switch {
		case i < 0:
			d.stray("", key, known, nil)
		case key == "policy" || key == "traffic" || key == "cost" || key == "pool":
		default:
			d.assign(key, known[i].value, value)
		}
	}
	for _, key := range []string{"policy", "traffic", "cost"} {
		if v, ok := d.doc.tree[key]; ok {
			if _, isTable := v.(map[string]any); !isTable {
				d.errorf(key, "%s is %s; want a section [%s]", key, describe(v), key)
			}
		}
	}
	d.cost(&s.Cost)
	d.pools(s)
}

// has tells whether a scenario has a section.
func (d *decoder) has(section string) bool {
	_, ok := d.doc.tree[section]
	return ok
}

// noText refuses sections about text in a scenario without any.
func (c *checker) noText() {
	for _, section := range []string{"device", "cost", "policy"} {
		if c.d.has(section) {
			c.d.errorf(section, "[%s] is about text, which this scenario does not serve; want it removed, or [model] and [hardware] for replicas beside the pools", section)
		}
	}
}
