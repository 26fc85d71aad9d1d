package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"orrery/cluster/jobs"
	"orrery/policies/share"
	"orrery/report/chart"
)

// Jobs is what became of training jobs on a cluster.
type Jobs struct {
	Name      string `json:"name"`
	Version   string `json:"version"`
	Policy    string `json:"policy"`
	Seed      uint64 `json:"seed"`
	EndS      Number `json:"end_s"`
	Arrived   int    `json:"arrived"`
	Finished  int    `json:"finished"`
	Refused   int    `json:"refused"`
	Open      int    `json:"open"`
	MakespanS Number `json:"makespan_s"` // from the first arrival to the last end

	JCT     Spread `json:"jct"`       // completion times, seconds
	Wait    Spread `json:"wait"`      // to the first start
	SlowP50 Number `json:"slow_p50"`  // completion time over that alone on the best devices
	SlowP99 Number `json:"slow_p99"`  // of these, fairness shows in the tail
	Busy    Number `json:"busy"`      // share of the device-hours that were there
	Hours   Hours  `json:"gpu_hours"` // held by jobs
	Cost    Number `json:"cost"`

	Deadlines   int   `json:"deadlines"`
	Met         int   `json:"deadlines_met"`
	Preemptions int64 `json:"preemptions"`
	Failures    int64 `json:"failures"`
	Decisions   int64 `json:"decisions"`

	Kinds   []JobKind `json:"kinds"`
	Types   []JobType `json:"types"`
	Flags   []string  `json:"flags"`
	Partial bool      `json:"partial"`

	jcts []float64
}

// Spread sums up a distribution.
type Spread struct {
	Mean Number `json:"mean"`
	P50  Number `json:"p50"`
	P90  Number `json:"p90"`
	P99  Number `json:"p99"`
	Max  Number `json:"max"`
}

// Hours are device-hours by what they were good for.
type Hours struct {
	Useful     Number `json:"useful"`
	Restarting Number `json:"restarting"`
	Saving     Number `json:"saving"`
	Lost       Number `json:"lost"`
	All        Number `json:"all"`
}

// JobKind are the jobs of a name.
type JobKind struct {
	Name     string  `json:"name"`
	Finished int     `json:"finished"`
	JCTMeanS Number  `json:"jct_mean_s"`
	Hours    float64 `json:"gpu_hours"`
	Met      int     `json:"deadlines_met"`
	Of       int     `json:"deadlines"`
	// Losses at the end, of jobs with a schedule: as planned, as they ran, and with the rest of the
	// schedule planned anew whenever the width changed.
	LossPlanned   Number `json:"loss_planned"`
	LossRan       Number `json:"loss_ran"`
	LossReplanned Number `json:"loss_replanned"`
}

// JobType is a type of device.
type JobType struct {
	Name    string  `json:"name"`
	Devices int     `json:"devices"`
	Hours   float64 `json:"gpu_hours"` // held by jobs
	Lent    float64 `json:"lent"`      // device-hours that somebody else held
}

func spread(x []float64) Spread {
	if len(x) == 0 {
		return Spread{None, None, None, None, None}
	}
	slices.Sort(x)
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	at := func(q float64) Number { return Number(x[min(int(math.Ceil(q*float64(len(x))))-1, len(x)-1)]) }
	return Spread{Number(sum / float64(len(x))), at(0.5), at(0.9), at(0.99), Number(x[len(x)-1])}
}

// NewJobs sums up a run.
func NewJobs(o *jobs.Outcome, types []share.Type) *Jobs {
	r := &Jobs{EndS: Number(o.End.Seconds()), Preemptions: o.Preemptions, Failures: o.Failures, Decisions: o.Asked, Partial: o.Partial, MakespanS: None, Flags: []string{}}
	var waits, slow []float64
	kinds := map[string]*JobKind{}
	var order []string
	jcts := map[string][]float64{}
	first, last := math.Inf(1), math.Inf(-1)
	cost := 0.0
	for i := range o.Jobs {
		j := &o.Jobs[i]
		r.Arrived++
		k := kinds[j.Name]
		if k == nil {
			k = &JobKind{Name: j.Name, LossPlanned: None, LossRan: None, LossReplanned: None}
			kinds[j.Name] = k
			order = append(order, j.Name)
		}
		first = min(first, j.Arrived.Seconds())
		r.Hours.Useful += Number(j.Useful / 3600)
		r.Hours.Restarting += Number(j.Restarting / 3600)
		r.Hours.Saving += Number(j.Saving / 3600)
		r.Hours.Lost += Number(j.Lost / 3600)
		k.Hours += j.DeviceSeconds() / 3600
		cost += j.Cost
		if j.First >= 0 {
			waits = append(waits, j.First.Sub(j.Arrived).Seconds())
		}
		if j.Deadline > 0 {
			r.Deadlines++
			k.Of++
		}
		switch {
		case j.Refused:
			r.Refused++
			continue
		case j.End < 0:
			r.Open++
			continue
		}
		r.Finished++
		k.Finished++
		last = max(last, j.End.Seconds())
		jct := j.JCT().Seconds()
		r.jcts = append(r.jcts, jct)
		jcts[j.Name] = append(jcts[j.Name], jct)
		if alone := quickest(&j.Job); alone > 0 {
			slow = append(slow, jct/alone)
		}
		if j.Deadline > 0 && j.End <= j.Deadline {
			r.Met++
			k.Met++
		}
	}
	r.Hours.All = r.Hours.Useful + r.Hours.Restarting + r.Hours.Saving + r.Hours.Lost
	r.JCT, r.Wait = spread(r.jcts), spread(waits)
	s := spread(slow)
	r.SlowP50, r.SlowP99 = s.P50, s.P99
	r.Busy, r.Cost = None, Number(cost)
	if o.Capacity > 0 {
		r.Busy = Number(o.Held / o.Capacity)
	}
	if r.Finished > 0 {
		r.MakespanS = Number(last - first)
	}
	slices.Sort(order)
	for _, name := range order {
		k := kinds[name]
		k.JCTMeanS = spread(jcts[name]).Mean
		r.Kinds = append(r.Kinds, *k)
	}
	for i, t := range types {
		r.Types = append(r.Types, JobType{Name: t.Name, Devices: t.Devices, Hours: o.ByType[i] / 3600})
	}
	return r
}

// quickest is the time that a job takes alone, at its best.
func quickest(j *jobs.Job) float64 {
	best := 0.0
	for _, row := range j.Speed {
		best = max(best, slices.Max(row))
	}
	if best == 0 {
		return 0
	}
	return j.Work/best + j.Restart.Seconds()
}

// Text returns the verdict on one screen.
func (r *Jobs) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s   seed %d\npolicy   %s\n", r.Name, r.Seed, r.Policy)
	fmt.Fprintf(&b, "jobs     %d arrived, %d finished, %d refused, %d under way at the end\n", r.Arrived, r.Finished, r.Refused, r.Open)
	fmt.Fprintf(&b, "run      %s; the last of them ends %s after the first arrived\n\n", long(r.EndS), long(r.MakespanS))
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tmean\tp50\tp90\tp99\tmax\t")
	for _, x := range []struct {
		name string
		Spread
	}{{"completion time", r.JCT}, {"wait for a start", r.Wait}} {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t\n", x.name, long(x.Mean), long(x.P50), long(x.P90), long(x.P99), long(x.Max))
	}
	t.Flush()
	fmt.Fprintf(&b, "\nslowness %s (p50), %s (p99) times what a job takes alone at its best\n", ratioText(r.SlowP50), ratioText(r.SlowP99))
	if r.Deadlines > 0 {
		fmt.Fprintf(&b, "deadline %d of %d met\n", r.Met, r.Deadlines)
	}
	all := max(float64(r.Hours.All), 1e-12)
	fmt.Fprintf(&b, "devices  busy %.0f %%; %.4g GPU-hours: useful %.1f %%, restarts %.1f %%, checkpoints %.1f %%, lost %.1f %%\n", 100*float64(r.Busy), float64(r.Hours.All),
		100*float64(r.Hours.Useful)/all, 100*float64(r.Hours.Restarting)/all, 100*float64(r.Hours.Saving)/all, 100*float64(r.Hours.Lost)/all)
	for _, x := range r.Types {
		fmt.Fprintf(&b, "         %d x %s: %.4g GPU-hours", x.Devices, x.Name, x.Hours)
		if x.Lent > 0 {
			fmt.Fprintf(&b, ", beside %.4g of the fleet", x.Lent)
		}
		b.WriteString("\n")
	}
	if r.Cost > 0 {
		fmt.Fprintf(&b, "cost     %.2f\n", float64(r.Cost))
	}
	fmt.Fprintf(&b, "changes  %d pre-emptions, %d failures of devices, %d decisions\n\n", r.Preemptions, r.Failures, r.Decisions)
	t = tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "kind\tfinished\tmean completion\tGPU-hours\tdeadlines met\t")
	for _, k := range r.Kinds {
		met := "-"
		if k.Of > 0 {
			met = fmt.Sprintf("%d of %d", k.Met, k.Of)
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%.4g\t%s\t\n", k.Name, k.Finished, long(k.JCTMeanS), k.Hours, met)
	}
	t.Flush()
	for _, k := range r.Kinds {
		if k.LossRan.Exists() {
			fmt.Fprintf(&b, "loss of %s: %.4g as planned, %.4g as it ran, %.4g with its schedule re-planned (noisy quadratic model)\n", k.Name, float64(k.LossPlanned), float64(k.LossRan), float64(k.LossReplanned))
		}
	}
	for _, f := range r.Flags {
		fmt.Fprintf(&b, "! %s\n", f)
	}
	return b.String()
}

func ratioText(n Number) string {
	if !n.Exists() {
		return "-"
	}
	return fmt.Sprintf("%.3g", float64(n))
}

// long writes a time of seconds to days.
func long(n Number) string {
	if !n.Exists() {
		return "-"
	}
	switch d := time.Duration(float64(n) * 1e9); {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%.1f d", d.Hours()/24)
	case d >= time.Hour:
		return fmt.Sprintf("%.1f h", d.Hours())
	case d >= time.Minute:
		return fmt.Sprintf("%.1f min", d.Minutes())
	}
	return fmt.Sprintf("%.3g s", float64(n))
}

// Plots draws completion times, and the devices over time.
func (r *Jobs) Plots(devices []chart.Series) []Plot {
	var out []Plot
	if len(r.jcts) > 0 {
		out = append(out, Plot{"completion", chart.CDF{Title: "Completion times", Subtitle: r.Name + ", " + r.Policy, X: chart.Axis{Unit: chart.Seconds, Log: true}, YLabel: "of the jobs", Series: []chart.Series{chart.Empirical(r.Policy, r.jcts)}}})
	}
	if len(devices) > 0 {
		out = append(out, Plot{"devices", chart.Lines{Title: "Devices over time", Subtitle: r.Name + ", " + r.Policy, X: chart.Axis{Unit: chart.Seconds}, Y: chart.Axis{Label: "devices"}, Series: devices}})
	}
	return out
}
