package scenarios

import (
	"context"
	"runtime/debug"
	"strconv"

	"github.com/google/uuid"

	"orrery/cluster"
	"orrery/hwmodel"
	"orrery/report"
	"orrery/sim"
)

// Options are what a caller may want of a run beyond its result.
type Options struct {
	// Recorders watch the run as well: rows, timelines, checks.
	Recorders []cluster.Recorder
	// Progress, if set, is told now and then how far the run is.
	Progress func(now sim.Time, arrived, ended int64)
	// Fingerprint asks for the hash of the log in the result.
	Fingerprint bool
	// NoLaws leaves out the checks of every record against the laws of the house.
	NoLaws bool
	// Step forbids crossing stretches of equal iterations in one jump; results are
	// the same, later.
	Step bool
	// Slower multiplies the price of everything, 0 counts as 1: what a run would be if the
	// costs were off as a whole.
	Slower float64
}

// Run carries the scenario out with the given seed. A cancelled context is not an
// error: the result is then marked partial and covers what had happened by then. An
// error is a file that changed under way, a table of costs that does not
// reach far enough, or a broken law, which is a mistake in this program.
func Run(ctx context.Context, s *Scenario, seed uint64, o Options) (*report.Result, cluster.Outcome, error) {
	m, outcome, id, err := measure(ctx, s, seed, o)
	if err != nil {
		return nil, outcome, err
	}
	r := m.Summary()
	r.Identity = id
	return r, outcome, nil
}

// Measure is [Run] for callers that merge the measurements of several runs before
// they summarise them.
func Measure(ctx context.Context, s *Scenario, seed uint64, o Options) (*report.Metrics, cluster.Outcome, error) {
	m, outcome, _, err := measure(ctx, s, seed, o)
	return m, outcome, err
}

func measure(ctx context.Context, s *Scenario, seed uint64, o Options) (*report.Metrics, cluster.Outcome, report.Identity, error) {
	e, err := s.Build(seed)
	if err != nil {
		return nil, cluster.Outcome{}, report.Identity{}, err
	}
	id := e.Identity
	id.Version = Version()
	id.RunID = s.RunID(seed)
	m := report.NewMetrics(report.Config{Replicas: e.Specs, Classes: report.ClassSpecs(e.Config.Classes), Tiers: s.reportTiers(), SLO: e.SLO, WarmUp: e.WarmUp})
	record := []cluster.Recorder{m}
	var laws *report.Laws
	if !o.NoLaws {
		laws = &report.Laws{Replicas: e.Specs}
		record = append(record, laws)
	}
	var hash report.Fingerprint
	if o.Fingerprint {
		record = append(record, &hash)
	}
	e.Config.Record = append(record, o.Recorders...)
	e.Config.Progress = o.Progress
	e.Config.Step = o.Step
	if o.Slower > 0 && o.Slower != 1 {
		for i := range e.Config.Replicas {
			r := &e.Config.Replicas[i]
			r.Cost = &hwmodel.Scaled{CostModel: r.Cost, Factor: o.Slower}
		}
		slow(e.Config.Pools, o.Slower)
	}
	outcome, err := cluster.Run(ctx, e.Config)
	if closeErr := e.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, outcome, id, err
	}
	m.Close(outcome.End)
	id.Partial = outcome.Stopped
	if s.text {
		if n := extrapolated(e.Config.Replicas); n > 0 {
			id.Flags = append(id.Flags, strconv.FormatInt(n, 10)+" look-ups of costs went beyond the measured tables")
		}
	}
	if o.Fingerprint {
		id.Fingerprint = hash.String()
	}
	if laws != nil {
		if err := laws.Close(outcome.End, -1); err != nil {
			return nil, outcome, id, &BrokenLaw{Scenario: s.Name, Seed: seed, Version: id.Version, Err: err}
		}
	}
	return m, outcome, id, nil
}

// extrapolated counts look-ups of costs beyond measured tables. Replicas of a group
// share their tables.
func extrapolated(replicas []cluster.ReplicaConfig) int64 {
	sum, group := int64(0), int32(-1)
	for i := range replicas {
		if replicas[i].Group == group {
			continue
		}
		group = replicas[i].Group
		if c, ok := replicas[i].Cost.(interface{ Extrapolated() int64 }); ok {
			sum += c.Extrapolated()
		}
	}
	return sum
}

// BrokenLaw says that a run broke a law that every run must obey. It carries what is
// needed to repeat the run.
type BrokenLaw struct {
	Scenario string
	Seed     uint64
	Version  string
	Err      error
}

// Error names the run and the laws.
func (b *BrokenLaw) Error() string {
	return "scenario " + b.Scenario + ", seed " + strconv.FormatUint(b.Seed, 10) + ", version " + b.Version + ": " + b.Err.Error()
}

// Unwrap returns the broken laws.
func (b *BrokenLaw) Unwrap() error { return b.Err }

// runIDs is the name space of run ids.
var runIDs = uuid.NewSHA1(uuid.NameSpaceURL, []byte("orrery:run"))

// RunID returns the name of a run: the same scenario, seed and version of the program
// have the same.
func (s *Scenario) RunID(seed uint64) string {
	data := append(s.Resolved(), "\nseed "+strconv.FormatUint(seed, 10)+"\nversion "+Version()...)
	return uuid.NewSHA1(runIDs, data).String()
}

// Version returns the version of the program as the Go tool stamped it: the
// module's, else the commit.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			return setting.Value
		}
	}
	return "unknown"
}
