package scenarios

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"orrery/cluster"
	"orrery/cluster/jobs"
	"orrery/hwmodel"
	"orrery/policies/lrsched"
	"orrery/policies/share"
	"orrery/report"
	"orrery/sim"
	mix "orrery/workloads/jobs"
	"orrery/workloads/training"
)

// Training is a scenario of training jobs that share a cluster, beside a fleet that serves
// text or not. Its file has none of the sections of a [Scenario].
type Training struct {
	Name        string `toml:"name"`        // default: the file's name without its ending
	Description string `toml:"description"` // one sentence
	Seed        uint64 `toml:"seed"`        // default 1

	Policy string   `toml:"policy"` // one of SharePolicies, default fifo
	Round  Duration `toml:"round"`  // the policy is asked at least so often, default 6m
	For    Duration `toml:"for"`    // cut the run, default 0s: when all jobs have ended
	// Failing is the mean time between failures of one device, default 0s: none; Repair how
	// long one is away, default 1h.
	Failing Duration `toml:"failing"`
	Repair  Duration `toml:"repair"`
	// Share lets two jobs run on the same devices where both keep enough of their speed.
	Share bool `toml:"share"`

	Devices []TrainingDevice `toml:"device"`
	Jobs    []TrainingJob    `toml:"job"` // one or more of a kind each
	Mix     TrainingMix      `toml:"mix"` // of published jobs
	Serving ServingFleet     `toml:"serving"`

	doc     *document
	serving *Scenario
}

// TrainingDevice is one [[device]]: a number of devices of a type.
type TrainingDevice struct {
	Device       string  `toml:"device"` // one of hwmodel.Names
	Count        int     `toml:"count"`
	PerNode      int     `toml:"per_node"`       // default 8
	PricePerHour float64 `toml:"price_per_hour"` // of one, default 0: not known
}

// TrainingJob is one [[job]]: jobs of a kind, whose steps are priced on the devices.
type TrainingJob struct {
	Name    string   `toml:"name"`
	Count   int      `toml:"count"`    // default 1
	PerHour float64  `toml:"per_hour"` // that arrive, a Poisson process; 0 (default): all of them at once
	At      Duration `toml:"at"`       // when the first may arrive, default 0s

	Network   string  `toml:"network"`   // one of training.Names
	Batch     int     `toml:"batch"`     // samples of one device
	Precision string  `toml:"precision"` // default amp
	Optimiser string  `toml:"optimiser"` // default sgd
	Recompute bool    `toml:"recompute"` // activations are computed again in the backward pass, to save memory
	Sharding  string  `toml:"sharding"`  // default none
	System    string  `toml:"system"`    // default eager
	Widths    []int   `toml:"widths"`    // devices it can run on, default 1
	Samples   float64 `toml:"samples"`   // to train on, in all, as in small batches
	// Critical is the batch, over all devices, in which a sample is worth half of one in a small
	// batch. 0 (default): samples are always worth the same.
	Critical float64 `toml:"critical"`
	// Schedule of the learning rate, over the job's own progress; with one, and critical, the loss at
	// its end is told. Default none.
	Schedule string `toml:"schedule"`

	Weight   float64  `toml:"weight"`    // default 1
	Deadline Duration `toml:"deadline"`  // after its arrival, default 0s: none
	GPUHours float64  `toml:"gpu_hours"` // it may take, default 0: no limit
	Secret   bool     `toml:"secret"`    // policies are not told how much work it is
	Restart  Duration `toml:"restart"`   // default 30s
	Spread   float64  `toml:"spread"`    // share of its speed on more nodes than it needs, default 0.8
	// Keep is how often a checkpoint is taken, default 30m, and KeepFor how long that takes, default 10s.
	Keep    Duration `toml:"keep"`
	KeepFor Duration `toml:"keep_for"`
}

// TrainingMix is jobs drawn from published kinds, see orrery/workloads/jobs.
type TrainingMix struct {
	PerHour   float64 `toml:"per_hour"`
	Jobs      int     `toml:"jobs"`
	Sizes     string  `toml:"sizes"`     // philly (default) or gavel
	Rigid     bool    `toml:"rigid"`     // one width each
	Deadlines float64 `toml:"deadlines"` // share of them that have one
}

// ServingFleet is a fleet that serves text on devices of one type; jobs get what it leaves.
type ServingFleet struct {
	Scenario string `toml:"scenario"` // a file, or a shipped one
	Device   string `toml:"device"`   // which of the devices it has
}

const trainingFolder = "training"

// Trainings returns the names of the shipped scenarios of training jobs.
func Trainings() []string { return shippedIn(trainingFolder) }

// sharePolicies are the policies that share devices among jobs.
var sharePolicies = []struct {
	Name
	make func() share.Policy
}{
	{Name{"fifo", "in order of arrival; nobody goes ahead of one that waits"}, func() share.Policy { return share.FIFO{} }},
	{Name{"fifo-backfill", "in order of arrival; smaller ones go ahead where there is room"}, func() share.Policy { return share.FIFO{Backfill: true} }},
	{Name{"srtf", "shortest remaining first, of sizes that owners declare"}, func() share.Policy { return &share.SRTF{} }},
	{Name{"srsf", "the least device-seconds remaining first, of sizes that owners declare"}, func() share.Policy { return &share.SRTF{Service: true} }},
	{Name{"las", "least attained service first, in queues (Tiresias)"}, func() share.Policy { return &share.LAS{} }},
	{Name{"edf", "earliest deadline first"}, func() share.Policy { return &share.EDF{} }},
	{Name{"max-min", "the worst served as well as can be, knowing types (Gavel)"}, func() share.Policy { return &share.MaxMin{} }},
	{Name{"max-min-blind", "the same, blind to types"}, func() share.Policy { return &share.MaxMin{Blind: true} }},
	{Name{"goodput", "type and width by progress (Sia, Pollux)"}, func() share.Policy { return &share.Goodput{} }},
	{Name{"deadline", "deadlines and budgets met at least cost"}, func() share.Policy { return &share.Deadline{} }},
}

// SharePolicies returns the policies that share devices among jobs.
func SharePolicies() []Name {
	var out []Name
	for _, p := range sharePolicies {
		out = append(out, p.Name)
	}
	return out
}

// kindOf says what scenarios of a kind are about, and what runs them.
var kindOf = map[string]string{
	trainingFolder: "training jobs (orrery run, orrery jobs)",
	robotsFolder:   "robots (orrery run, orrery robots)",
	budgetFolder:   "the budget of a training job (orrery budget)",
}

// Kind tells of what kind the scenario in a file, or the shipped one of a name, is: the
// folder of its kind, or empty for one of requests.
func Kind(file string) string {
	name := strings.TrimSuffix(filepath.ToSlash(file), ".toml")
	data, err := os.ReadFile(file)
	if err != nil {
		for _, folder := range []string{trainingFolder, robotsFolder, budgetFolder} {
			if slices.Contains(shippedIn(folder), name) {
				return folder
			}
		}
		return ""
	}
	doc, err := parse(file, data)
	if err != nil {
		return ""
	}
	switch {
	case doc.tree["job"] != nil || doc.tree["mix"] != nil:
		return trainingFolder
	case doc.tree["robot"] != nil:
		return robotsFolder
	case doc.tree["widths"] != nil:
		return budgetFolder
	}
	return ""
}

// LoadTraining returns the scenario of training jobs in a file, or the shipped one of a name
// such as training/mix, with overrides. Errors are of type [*Error].
func LoadTraining(file string, sets ...string) (*Training, error) {
	name := strings.TrimSuffix(filepath.ToSlash(file), ".toml")
	data, err := os.ReadFile(file)
	if err != nil && slices.Contains(Trainings(), name) {
		file = name + ".toml"
		data, err = shipped.ReadFile(file)
	}
	if err != nil {
		return nil, &Error{File: file, Msg: fmt.Sprintf("there is no such file that can be read, nor a shipped scenario of jobs of that name; shipped are %s", strings.Join(Trainings(), ", ")), Err: err}
	}
	doc, err := parse(file, data)
	if err != nil {
		return nil, err
	}
	return setTraining(doc, sets)
}

// With returns the scenario with more overrides.
func (t *Training) With(sets ...string) (*Training, error) { return setTraining(t.doc.clone(), sets) }

func setTraining(doc *document, sets []string) (*Training, error) {
	for _, set := range sets {
		if err := doc.set(set); err != nil {
			return nil, err
		}
	}
	base := filepath.Base(doc.name)
	t := &Training{
		Name: strings.TrimSuffix(base, filepath.Ext(base)), Seed: 1, Policy: sharePolicies[0].Name.Name, Round: Duration(6 * time.Minute), Repair: Duration(time.Hour),
		Mix: TrainingMix{Sizes: string(mix.Philly)}, doc: doc,
	}
	d := &decoder{doc: doc}
	d.fill("", doc.tree, []any{t}, nil)
	if err := d.err(); err != nil {
		return nil, err
	}
	c := &checker{d: d, s: &Scenario{}} // what may be read is noted there
	c.training(t)
	if err := d.err(); err != nil {
		return nil, err
	}
	return t, nil
}

// training checks a scenario of jobs.
func (c *checker) training(t *Training) {
	var policies []string
	for _, p := range sharePolicies {
		policies = append(policies, p.Name.Name)
	}
	c.oneOf("policy", "policy", t.Policy, policies)
	for key, d := range map[string]Duration{"round": t.Round, "for": t.For, "failing": t.Failing, "repair": t.Repair} {
		if d < 0 {
			c.fail(key, "is %v; want a time, 0s or more", d)
		}
	}
	if t.Failing > 0 && time.Duration(t.Failing) < time.Minute {
		c.fail("failing", "is %v; want a mean time between failures of a minute or more", t.Failing)
	}
	if len(t.Devices) == 0 {
		c.d.errorf("device", "there is no [[device]]; want at least one")
	}
	for i := range t.Devices {
		x := &t.Devices[i]
		at := c.in(fmt.Sprintf("device[%d]", i))
		at.oneOf("device", "device", x.Device, hwmodel.Names())
		for j := range i {
			if t.Devices[j].Device == x.Device {
				at.fail("device", "is %q, as of another one; want each once", x.Device)
			}
		}
		if x.PerNode == 0 && !at.given("per_node") {
			x.PerNode = 8
		}
		at.between("count", x.Count, 1, 1<<20)
		at.between("per_node", x.PerNode, 1, 1024)
		at.number("price_per_hour", x.PricePerHour, "of one device, 0 if not known")
	}
	if len(t.Jobs) == 0 && !c.d.has("mix") {
		c.d.errorf("job", "there are no jobs; want [[job]] sections, or [mix]")
	}
	for i := range t.Jobs {
		c.in(fmt.Sprintf("job[%d]", i)).trainingJob(t, i)
	}
	if c.d.has("mix") {
		c.in("mix").mix(&t.Mix)
	}
	if t.Serving.Scenario != "" {
		c.in("serving").servingFleet(t)
	}
}

func (c *checker) trainingJob(t *Training, i int) {
	j := &t.Jobs[i]
	c.named(j.Name, i, func(k int) string { return t.Jobs[k].Name })
	text := func(key string, to *string, def string, kind string, all []string) {
		if *to == "" {
			*to = def
		}
		c.oneOf(key, kind, *to, all)
	}
	text("precision", &j.Precision, string(training.AMP), "precision", asStrings(training.Precisions()))
	text("optimiser", &j.Optimiser, string(training.SGD), "optimiser", asStrings(training.Optimisers()))
	text("sharding", &j.Sharding, string(training.None), "sharding", asStrings(training.Shardings()))
	var systems []string
	for _, s := range training.Systems() {
		systems = append(systems, s.Name)
	}
	text("system", &j.System, systems[0], "system", systems)
	c.oneOf("network", "network", j.Network, training.Names())
	if j.Count == 0 && !c.given("count") {
		j.Count = 1
	}
	if len(j.Widths) == 0 {
		j.Widths = []int{1}
	}
	for k, d := range []struct {
		key string
		to  *Duration
		def time.Duration
	}{{"restart", &j.Restart, 30 * time.Second}, {"keep", &j.Keep, 30 * time.Minute}, {"keep_for", &j.KeepFor, 10 * time.Second}, {"deadline", &j.Deadline, 0}, {"at", &j.At, 0}} {
		if *d.to == 0 && !c.given(d.key) {
			*d.to = Duration(d.def)
		}
		if *d.to < 0 || k == 1 && *d.to == 0 {
			c.fail(d.key, "is %v; want a time above 0s", *d.to)
		}
	}
	if j.Spread == 0 {
		j.Spread = 0.8
	}
	c.between("count", j.Count, 1, 1<<24)
	c.between("batch", j.Batch, 1, 1<<24)
	c.number("per_hour", j.PerHour, "jobs that arrive in an hour")
	c.number("critical", j.Critical, "samples, 0 for none")
	c.number("weight", j.Weight, "0 counts as 1")
	c.number("gpu_hours", j.GPUHours, "0 for no limit")
	if !(j.Samples > 0 && j.Samples <= 1e18) {
		c.fail("samples", "is %s; want how many to train on, above 0", floatText(j.Samples))
	}
	if j.Schedule != "" {
		if _, err := lrsched.Load(j.Schedule); err != nil {
			c.wrap("schedule", err)
		} else if j.Critical == 0 {
			c.fail("critical", "is not known; want the critical batch of a job with a schedule")
		}
	}
	if !(j.Spread > 0 && j.Spread <= 1) {
		c.fail("spread", "is %s; want a share of the speed, above 0 up to 1", floatText(j.Spread))
	}
	most := 0
	for _, d := range t.Devices {
		most = max(most, d.Count)
	}
	for k, w := range j.Widths {
		key := fmt.Sprintf("widths[%d]", k)
		switch {
		case w < 1 || k > 0 && w <= j.Widths[k-1]:
			c.fail(key, "is %d; want numbers of devices that increase", w)
		case k == 0 && w > most:
			c.fail(key, "is %d, a gang that no type of device is numerous enough for; want %d or fewer", w, most)
		}
	}
}

func (c *checker) mix(m *TrainingMix) {
	if !(m.PerHour > 0 && m.PerHour <= 1e6) {
		c.fail("per_hour", "is %s; want jobs that arrive in an hour, above 0", floatText(m.PerHour))
	}
	c.between("jobs", m.Jobs, 1, 1<<24)
	c.oneOf("sizes", "sizes", m.Sizes, asStrings(mix.AllSizes()))
	if !(m.Deadlines >= 0 && m.Deadlines <= 1) {
		c.fail("deadlines", "is %s; want the share of jobs that have one", floatText(m.Deadlines))
	}
}

// servingFleet loads the scenario of the fleet.
func (c *checker) servingFleet(t *Training) {
	at := slices.IndexFunc(t.Devices, func(d TrainingDevice) bool { return d.Device == t.Serving.Device })
	if at < 0 {
		c.fail("device", "is %q; want one of the devices of this scenario", t.Serving.Device)
		return
	}
	file := t.Serving.Scenario
	if _, err := os.Stat(filepath.Join(c.d.doc.dir, file)); err == nil {
		file = filepath.Join(c.d.doc.dir, file)
	}
	s, err := Load(file)
	if err != nil {
		c.wrap("scenario", err)
		return
	}
	e, err := s.Build(s.Seed)
	if err != nil {
		c.wrap("scenario", err)
		return
	}
	defer e.Close()
	most := 0
	for i := range e.Config.Replicas {
		most += replicaDevices(&e.Config.Replicas[i])
	}
	if most > t.Devices[at].Count {
		c.fail("scenario", "takes up to %d devices, where there are %d of %s; want fewer, or more of those", most, t.Devices[at].Count, t.Serving.Device)
	}
	t.serving = s
}

func replicaDevices(r *cluster.ReplicaConfig) int { return max(r.Devices, 1) }

// TrainingRun is what became of a scenario of jobs.
type TrainingRun struct {
	Types   []share.Type
	Outcome jobs.Outcome
	Serving *report.Result // of the fleet, nil without one
	Lent    []float64      // device-seconds that the fleet held, by type
	Held    []FleetHolds   // over time
	Losses  []KindLoss     // of jobs with a schedule
	Flags   []string
}

// FleetHolds is how many devices a fleet holds from a moment on.
type FleetHolds struct {
	At      sim.Time
	Devices int
}

// Run carries the scenario out. The fleet, if there is one, runs first: it takes what it
// wants of its devices, and jobs get the rest at every moment.
func (t *Training) Run(ctx context.Context, record func(jobs.Record), progress func(now sim.Time, arrived, ended int64)) (*TrainingRun, error) {
	out := &TrainingRun{Lent: make([]float64, len(t.Devices))}
	cfg := jobs.Config{Round: time.Duration(t.Round), Failing: time.Duration(t.Failing), Repair: time.Duration(t.Repair), Until: sim.Time(t.For), Seed: t.Seed, Record: record, Progress: progress}
	for _, d := range t.Devices {
		cfg.Types = append(cfg.Types, share.Type{Name: d.Device, Devices: d.Count, Node: d.PerNode, Price: d.PricePerHour})
	}
	out.Types = cfg.Types
	for _, p := range sharePolicies {
		if p.Name.Name == t.Policy {
			cfg.Policy = p.make()
		}
	}
	if t.Share {
		cfg.Policy = share.Packed{Under: cfg.Policy}
	}
	source, flags, err := t.source()
	if err != nil {
		return nil, err
	}
	cfg.Source, out.Flags = source, flags
	if t.serving != nil {
		steps, err := out.serve(ctx, t)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(t.Devices, func(d TrainingDevice) bool { return d.Device == t.Serving.Device })
		for _, s := range steps {
			cfg.Changes = append(cfg.Changes, jobs.Change{At: s.At, Type: at, Devices: t.Devices[at].Count - s.Devices})
		}
	}
	if out.Outcome, err = jobs.Run(ctx, cfg); err != nil {
		return nil, err
	}
	out.Losses, err = t.Losses(&out.Outcome)
	return out, err
}

// fleetWatch notes how many devices a fleet holds.
type fleetWatch struct {
	devices []int // by replica
	off     []bool
	held    int
	steps   []FleetHolds
}

// Record implements [cluster.Recorder].
func (w *fleetWatch) Record(r *cluster.Record) {
	if r.What != cluster.Moved {
		return
	}
	off := r.State == cluster.Off
	if w.off[r.Replica] == off {
		return
	}
	w.off[r.Replica] = off
	if off {
		w.held -= w.devices[r.Replica]
	} else {
		w.held += w.devices[r.Replica]
	}
	w.note(r.At)
}

func (w *fleetWatch) note(at sim.Time) {
	if n := len(w.steps); n > 0 && w.steps[n-1].At >= at {
		w.steps[n-1].Devices = w.held // several at once, or noted a little late
		return
	}
	w.steps = append(w.steps, FleetHolds{at, w.held})
}

// serve runs the fleet and returns how many devices it holds over time. It gives all back at
// its end.
func (out *TrainingRun) serve(ctx context.Context, t *Training) ([]FleetHolds, error) {
	e, err := t.serving.Build(t.serving.Seed)
	if err != nil {
		return nil, err
	}
	w := &fleetWatch{off: make([]bool, len(e.Config.Replicas))}
	for i := range e.Config.Replicas {
		n := replicaDevices(&e.Config.Replicas[i])
		w.devices = append(w.devices, n)
		w.held += n
	}
	if err := e.Close(); err != nil {
		return nil, err
	}
	w.note(0)
	r, outcome, err := Run(ctx, t.serving, t.serving.Seed, Options{Recorders: []cluster.Recorder{w}})
	if err != nil {
		return nil, err
	}
	out.Serving = r
	w.held = 0
	w.steps = append(w.steps, FleetHolds{max(outcome.End, w.steps[len(w.steps)-1].At+1), 0})
	at := slices.IndexFunc(t.Devices, func(d TrainingDevice) bool { return d.Device == t.Serving.Device })
	for i := 1; i < len(w.steps); i++ {
		out.Lent[at] += w.steps[i].At.Sub(w.steps[i-1].At).Seconds() * float64(w.steps[i-1].Devices)
	}
	out.Held = w.steps
	return w.steps, nil
}

// source returns the jobs: those of every [[job]], and of the mix.
func (t *Training) source() (jobs.Source, []string, error) {
	var all []jobs.Job
	var flags []string
	for i := range t.Jobs {
		list, derived, err := t.jobsOf(i)
		if err != nil {
			return nil, nil, err
		}
		if derived && len(flags) == 0 {
			flags = append(flags, "times of steps are partly derived from other boards")
		}
		all = append(all, list...)
	}
	if t.Mix.PerHour > 0 {
		list, err := t.drawn()
		if err != nil {
			return nil, nil, err
		}
		all = append(all, list...)
		flags = append(flags, "rates of the mix are derived from Sia's and Gavel's measurements, of one type of node each")
	}
	slices.SortStableFunc(all, func(a, b jobs.Job) int {
		switch {
		case a.Arrived != b.Arrived && a.Arrived < b.Arrived:
			return -1
		case a.Arrived != b.Arrived:
			return 1
		}
		return 0
	})
	for i := range all {
		all[i].ID = int64(i)
	}
	return &listedJobs{all}, flags, nil
}

// listedJobs is a source of given jobs.
type listedJobs struct{ left []jobs.Job }

// Next implements [jobs.Source].
func (l *listedJobs) Next() (jobs.Job, bool) {
	if len(l.left) == 0 {
		return jobs.Job{}, false
	}
	j := l.left[0]
	l.left = l.left[1:]
	return j, true
}

// jobsOf returns the jobs of a [[job]].
func (t *Training) jobsOf(i int) (list []jobs.Job, derived bool, err error) {
	k := &t.Jobs[i]
	job := jobs.Job{
		Name: k.Name, Weight: k.Weight, Budget: k.GPUHours, Widths: k.Widths, Work: k.Samples, Secret: k.Secret, Spread: k.Spread,
		Restart: time.Duration(k.Restart), Checkpoint: time.Duration(k.Keep), CheckpointCost: time.Duration(k.KeepFor), Kind: i,
	}
	fits := errors.New("no device")
	for _, d := range t.Devices {
		speed, samples := make([]float64, len(k.Widths)), make([]float64, len(k.Widths))
		for w, width := range k.Widths {
			step, err := t.step(k, d, width)
			if err != nil {
				fits = err
				continue
			}
			derived = derived || step.Derived
			samples[w] = step.Rate()
			speed[w] = step.Rate()
			if k.Critical > 0 {
				speed[w] /= 1 + float64(k.Batch*width)/k.Critical
			}
		}
		job.Speed, job.Samples = append(job.Speed, speed), append(job.Samples, samples)
	}
	if !slices.ContainsFunc(job.Speed, func(row []float64) bool { return slices.Max(row) > 0 }) {
		return nil, false, fmt.Errorf("job %s runs nowhere: %w", k.Name, fits)
	}
	r := sim.Stream(t.Seed, "arrivals."+k.Name)
	at := time.Duration(k.At).Seconds()
	for range k.Count {
		if k.PerHour > 0 {
			at += r.ExpFloat64() * 3600 / k.PerHour
		}
		job.Arrived = sim.Seconds(at)
		if k.Deadline > 0 {
			job.Deadline = job.Arrived.Add(time.Duration(k.Deadline))
		}
		list = append(list, job)
	}
	return list, derived, nil
}

// step prices a step of a job on some devices; it fails where a device's memory is too
// small.
func (t *Training) step(k *TrainingJob, d TrainingDevice, width int) (training.Step, error) {
	p, err := hwmodel.Load(d.Device)
	if err != nil {
		return training.Step{}, err
	}
	sys, err := training.LoadSystem(k.System)
	if err != nil {
		return training.Step{}, err
	}
	s := training.Setup{
		Network: k.Network, Batch: k.Batch, Precision: training.Precision(k.Precision), Optimiser: training.Optimiser(k.Optimiser),
		Checkpoint: k.Recompute, Devices: width, PerNode: min(width, d.PerNode), Sharding: training.Sharding(k.Sharding),
	}
	m, err := s.Memory()
	if err != nil {
		return training.Step{}, err
	}
	if m.Total > p.Device.Memory {
		const gib = 1 << 30
		return training.Step{}, fmt.Errorf("it needs %.1f GiB of a device, %s has %.1f", float64(m.Total)/gib, d.Device, float64(p.Device.Memory)/gib)
	}
	return s.Step(p, sys)
}

// mixTypes are the types of device that have published rates of training.
var mixTypes = map[string]string{"rtx-2080-ti-11gb": "2080ti", "v100-sxm-16gb": "v100", "v100-sxm-32gb": "v100", "a100-sxm-40gb": "a100", "a100-sxm-80gb": "a100"}

// drawn returns the jobs of the mix. On devices without published rates they do not run.
func (t *Training) drawn() ([]jobs.Job, error) {
	m := mix.Mix{Rate: t.Mix.PerHour, Jobs: t.Mix.Jobs, Sizes: mix.Sizes(t.Mix.Sizes), Rigid: t.Mix.Rigid, Deadlines: t.Mix.Deadlines}
	var at []int // column of each device, -1 for none
	for _, d := range t.Devices {
		name, ok := mixTypes[d.Device]
		if !ok {
			at = append(at, -1)
			continue
		}
		if !slices.Contains(m.Types, name) {
			m.Types = append(m.Types, name)
		}
		at = append(at, slices.Index(m.Types, name))
	}
	source, err := m.Source(t.Seed)
	if err != nil {
		return nil, err
	}
	var out []jobs.Job
	kinds := map[string]int{}
	for {
		x, ok := source.Next()
		if !ok {
			return out, nil
		}
		if _, ok := kinds[x.Class]; !ok {
			kinds[x.Class] = len(t.Jobs) + len(kinds)
		}
		j := jobs.Job{
			Name: x.Class, Arrived: x.Arrived, Deadline: x.Deadline, Widths: x.Widths, Work: x.Total, Spread: 0.8, Kind: kinds[x.Class],
			Restart: time.Duration(math.Round(x.Restart * 1e9)), Checkpoint: 30 * time.Minute, CheckpointCost: 10 * time.Second,
		}
		none := make([]float64, len(x.Widths))
		for _, k := range at {
			if k < 0 {
				j.Speed, j.Samples = append(j.Speed, none), append(j.Samples, none)
				continue
			}
			j.Speed, j.Samples = append(j.Speed, x.Speed[k]), append(j.Samples, x.Samples[k])
		}
		out = append(out, j)
	}
}
