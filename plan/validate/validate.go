// Package validate runs the same arrivals under the same policies twice, once
// simulated and once on a real machine, and puts what came out side by side.
//
// The simulator's prices are fitted to iterations that were measured on the machine
// for the purpose, of other sequences than those that are served afterwards
// (ladder.go); the run that is judged has no part in the fit. Short measurements
// right before and right after each real run tell the speed of the machine at the
// time, by which the prices of its simulation are scaled: clocks and neighbours change
// from minute to minute by more than a queue near its capacity forgives. The
// real run is repeated, and where the repetitions differ by more than the limit of a
// figure, the machine is too noisy to say anything about it (compare.go).
//
// Start reading at [Run].
package validate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"orrery/calibrate"
	"orrery/cluster"
	"orrery/hwmodel"
	"orrery/report"
	"orrery/sim"
)

// Machine is what really runs iterations. Its executor serves one run at a time.
type Machine interface {
	cluster.Executor
	// Reset makes it forget all sequences.
	Reset()
}

// Subject is a policy to validate.
type Subject struct {
	Name string
	// Build wires one run of n requests at a mean rate per second. Equal seeds mean
	// equal requests, whatever the subject.
	Build func(rate float64, n int64, seed uint64) (*Trial, error)
}

// Trial is one run, ready but for the price of its iterations.
type Trial struct {
	Config cluster.Config // of one replica
	Specs  []report.ReplicaSpec
	SLO    report.SLO
	Close  func() error
}

// Options say how much is measured. Zero values take the defaults.
type Options struct {
	Loads       []float64     // shares of the lowest capacity of a subject, default 0.5 and 0.9
	Length      time.Duration // of the arrivals of each run, default 8 s
	Calibration time.Duration // in all, default 24 s
	Repeats     int           // real runs of each subject and load, default and least 2
	// Measured are iterations that were measured on the machine before. If there are
	// any, prices rest on them alone, and the calibration only follows the speed of the
	// machine.
	Measured []calibrate.IterationSample
	Seed     uint64
	Limits   Limits
	// Progress, if set, is told what is being done, and how far everything is.
	Progress func(what string, done, total time.Duration)
}

// Check returns an error unless the options make sense.
func (o Options) Check() error { return o.fill() }

func (o *Options) fill() error {
	if o.Loads == nil {
		o.Loads = []float64{0.5, 0.9}
	}
	for _, l := range o.Loads {
		if !(l > 0 && l < 1) {
			return fmt.Errorf("validate: load %g; want a share of the capacity above 0 and below 1", l)
		}
	}
	if o.Length == 0 {
		o.Length = 8 * time.Second
	}
	if o.Calibration == 0 {
		o.Calibration = 24 * time.Second
	}
	if o.Length < time.Second || o.Calibration < time.Second {
		return fmt.Errorf("validate: runs of %v after a calibration of %v; want a second or more of each", o.Length, o.Calibration)
	}
	o.Repeats = max(o.Repeats, 2)
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits
	}
	if o.Progress == nil {
		o.Progress = func(string, time.Duration, time.Duration) {}
	}
	return nil
}

// Run validates the subjects on a machine. The error is that of the machine or of a
// subject, says what is wrong with the options, or is that of ctx.
func Run(ctx context.Context, m Machine, subjects []Subject, o Options) (*Report, error) {
	if len(subjects) == 0 {
		return nil, errors.New("validate: nothing to validate")
	}
	if err := o.fill(); err != nil {
		return nil, err
	}
	v := &validation{Options: o, machine: m, subjects: subjects}
	if err := v.measure(ctx); err != nil {
		return nil, err
	}
	return v.report(ctx)
}

// validation is one [Run] in progress.
type validation struct {
	Options
	machine  Machine
	subjects []Subject

	ladder   *ladder
	host     hostTimes
	cost     *hwmodel.Measured
	loads    []load
	begun    time.Time
	expected time.Duration
}

// load is what was run at one load.
type load struct {
	share, rate float64
	requests    int64
	real        [][]*outcome // by subject and repetition
}

// outcome is what one run came to.
type outcome struct {
	result     *report.Result
	iterations []iteration
	end        sim.Time
	// slowness is that of the machine before and after a real run, or that at which a
	// run was simulated.
	slowness [2]float64
}

// measure calibrates and then really runs everything. Calibration goes on between the
// runs, and repetitions take turns, so that a machine that gets slower for a while
// does so for all of them.
func (v *validation) measure(ctx context.Context) error {
	runs := v.Repeats * len(v.Loads) * len(v.subjects)
	v.begun = time.Now()
	v.expected = v.Calibration + time.Duration(runs)*(v.Length*11/10+hostProbe)
	if err := v.calibrate(ctx); err != nil {
		return err
	}
	if err := v.plan(ctx); err != nil {
		return err
	}
	slice := v.Calibration * 2 / 3 / time.Duration(runs+1)
	if err := v.gauge(ctx, slice); err != nil {
		return err
	}
	for range v.Repeats {
		for i := range v.loads {
			for s := range v.subjects {
				v.tell(fmt.Sprintf("running %s at %.0f %% load", v.subjects[s].Name, 100*v.loads[i].share))
				out, err := v.run(ctx, &v.loads[i], s, nil)
				if err != nil {
					return err
				}
				v.loads[i].real[s] = append(v.loads[i].real[s], out)
				if err := v.gauge(ctx, slice); err != nil {
					return err
				}
			}
		}
	}
	if err := v.fit(); err != nil {
		return err
	}
	k := 0 // the gauge before the run, in the order of the loops above
	for r := range v.Repeats {
		for i := range v.loads {
			for s := range v.subjects {
				v.loads[i].real[s][r].slowness = [2]float64{v.ladder.slowness(v.cost, k), v.ladder.slowness(v.cost, k+1)}
				k++
			}
		}
	}
	return nil
}

// calibrate makes a first cost model.
func (v *validation) calibrate(ctx context.Context) error {
	var err error
	if v.ladder, err = newLadder(v.machine, v.subjects, v.Seed); err != nil {
		return err
	}
	v.tell("calibrating")
	v.machine.Reset()
	if err := v.ladder.measure(ctx, v.Calibration/3, 0); err != nil {
		return err
	}
	if err := v.probeHost(ctx); err != nil {
		return err
	}
	return v.fit()
}

// gauge measures the speed of the machine, and its host.
func (v *validation) gauge(ctx context.Context, d time.Duration) error {
	v.machine.Reset()
	if err := v.ladder.gauge(ctx, d); err != nil {
		return err
	}
	return v.probeHost(ctx)
}

func (v *validation) fit() error {
	samples, hint := v.ladder.samples, "a longer calibration"
	if len(v.Measured) > 0 {
		samples, hint = v.Measured, "a file with more of them"
	}
	cost, err := calibrate.FitIterations(samples)
	if err != nil {
		return fmt.Errorf("%w; want %s", err, hint)
	}
	cost.HostIteration = v.host.seconds()
	v.cost = cost
	return nil
}

// run carries out one run of a subject, on the machine or, with a cost model, simulated.
func (v *validation) run(ctx context.Context, l *load, subject int, cost *hwmodel.Measured) (*outcome, error) {
	t, err := v.subjects[subject].Build(l.rate, l.requests, v.Seed)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	metrics := report.NewMetrics(report.Config{Replicas: t.Specs, SLO: t.SLO})
	laws := &report.Laws{Replicas: t.Specs}
	var list iterations
	t.Config.Record = append(t.Config.Record, metrics, laws, &list)
	r := &t.Config.Replicas[0]
	carryOut := cluster.Run
	if cost != nil {
		r.Cost = cost
	} else {
		v.machine.Reset()
		defer v.machine.Reset()
		r.Cost, r.Executor = nil, v.machine
		carryOut = cluster.Live
	}
	out, err := carryOut(ctx, t.Config)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = laws.Close(out.End, -1)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.subjects[subject].Name, err)
	}
	metrics.Close(out.End)
	return &outcome{result: metrics.Summary(), iterations: list, end: out.End}, nil
}

func (v *validation) tell(what string) {
	done := time.Since(v.begun)
	v.Progress(what, done, max(v.expected, done))
}
