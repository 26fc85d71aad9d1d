package cmd

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"orrery/hwmodel"
	"orrery/internal/names"
	"orrery/scenarios"
	"orrery/workloads/llm"
	"orrery/workloads/planning"
	"orrery/workloads/trace"
)

// listing is one kind of thing that has a name.
type listing struct {
	Kind  string `json:"kind"`
	Key   string `json:"key"` // of a scenario, where the names are used
	Items []item `json:"items"`
}

type item struct {
	Name string `json:"name"`
	What string `json:"what"`
}

func (a *app) listCmd() *cobra.Command {
	var asJSON bool
	kinds := []string{"models", "devices", "engines", "policies", "routers", "sources", "arrivals", "lengths", "costs", "tables", "scenarios", "planners", "robots", "control", "budgets", "schedules", "trainable", "systems", "training", "sharing"}
	kinds = append(kinds, diffusionKinds...)
	c := &cobra.Command{
		Use:   "list [KIND]",
		Short: "List what has a name: models, devices, policies, scenarios ...",
		Long:  "List prints the names that a scenario may use, of all kinds or of one:\n" + strings.Join(kinds, ", ") + ".",
		Example: `  orrery list
  orrery list models
  orrery list policies --json`,
		ValidArgs: kinds,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return inputErrorf("list takes one kind; want one of %s", strings.Join(kinds, ", "))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			only := ""
			if len(args) == 1 {
				only = args[0]
			}
			all, err := catalogue(only)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				one := all[:0]
				for _, l := range all {
					if l.Kind == args[0] {
						one = append(one, l)
					}
				}
				if len(one) == 0 {
					return badInput{names.Unknown("kind", args[0], kinds)}
				}
				all = one
			}
			return a.showList(all, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON on standard output")
	return c
}

func (a *app) showList(all []listing, asJSON bool) error {
	if asJSON {
		data, err := encode(all)
		if err != nil {
			return err
		}
		_, err = a.out.Write(data)
		return err
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for i, l := range all {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s (%s)\n", l.Kind, l.Key)
		for _, it := range l.Items {
			fmt.Fprintln(w, strings.TrimRight("  "+it.Name+"\t"+it.What, "\t"))
		}
	}
	return w.Flush()
}

// catalogue returns everything that has a name, or, of what takes long to describe, what is
// of one kind only.
func catalogue(only string) ([]listing, error) {
	want := func(kind string) bool { return only == "" || only == kind }
	models := listing{Kind: "models", Key: "model.name"}
	for _, name := range llm.Names() {
		m, err := llm.Load(name)
		if err != nil {
			return nil, err
		}
		models.Items = append(models.Items, item{name, describeModel(m)})
	}
	devices := listing{Kind: "devices", Key: "hardware.device"}
	for _, name := range hwmodel.Names() {
		p, err := hwmodel.Load(name)
		if err != nil {
			return nil, err
		}
		devices.Items = append(devices.Items, item{name, describeDevice(&p.Device)})
	}
	engines := listing{Kind: "engines", Key: "hardware.engine"}
	for _, name := range hwmodel.Engines() {
		e, err := hwmodel.LoadEngine(name)
		if err != nil {
			return nil, err
		}
		engines.Items = append(engines.Items, item{name, describeEngine(e)})
	}
	shipped := listing{Kind: "scenarios", Key: "orrery run NAME"}
	for _, name := range scenarios.Names() {
		if !want(shipped.Kind) {
			break
		}
		s, err := scenarios.Load(name)
		if err != nil {
			return nil, err
		}
		shipped.Items = append(shipped.Items, item{name, s.Description})
	}
	tables := listing{Kind: "tables", Key: "traffic.lengths"}
	for _, name := range trace.Tables() {
		q, err := trace.LoadTable(name)
		if err != nil {
			return nil, err
		}
		tables.Items = append(tables.Items, item{name, describeTable(q)})
	}
	planners := listing{Kind: "planners", Key: "robot.planner"}
	for _, p := range planning.Planners() {
		program, err := p.Program(planning.Setting{})
		if err != nil {
			return nil, err
		}
		planners.Items = append(planners.Items, item{p.Name, fmt.Sprintf("%d kernels an action (%s)", program.Kernels(), p.Source)})
	}
	robots := listing{Kind: "robots", Key: "orrery robots NAME"}
	for _, name := range scenarios.RobotScenarios() {
		r, err := scenarios.LoadRobots(name)
		if err != nil {
			return nil, err
		}
		robots.Items = append(robots.Items, item{name, r.Description})
	}
	trained, err := trainingCatalogue(want)
	if err != nil {
		return nil, err
	}
	images, err := diffusionCatalogue(want)
	if err != nil {
		return nil, err
	}
	return append([]listing{
		models, devices, engines,
		named("policies", "policy.batch", scenarios.Policies()),
		named("routers", "policy.route", scenarios.Routers()),
		named("admission", "policy.admit", scenarios.Admissions()),
		named("orders", "policy.order", scenarios.Orders()),
		named("scalers", "group.NAME.scale.policy", scenarios.Scalers()),
		named("places", "group.NAME.place", scenarios.Places()),
		named("faults", "faults.event.kind", scenarios.FaultKinds()),
		named("retries", "faults.retry", scenarios.Retries()),
		named("sources", "traffic.source", scenarios.Sources()),
		named("arrivals", "traffic.arrivals", scenarios.ArrivalProcesses()),
		named("lengths", "traffic.lengths", distributions()),
		named("costs", "cost.kind", scenarios.CostKinds()),
		tables, shipped, planners, robots,
		trained[0], trained[1], trained[2], trained[3], trained[4],
		named("sharing", "policy of training jobs", scenarios.SharePolicies()),
		named("control", "policy of robots", scenarios.ControlPolicies()),
	}, images...), nil
}

// distributions returns the sources of lengths that are no tables, which have a
// listing of their own.
func distributions() []scenarios.Name {
	return slices.DeleteFunc(scenarios.LengthSources(), func(n scenarios.Name) bool { return slices.Contains(trace.Tables(), n.Name) })
}

func named(kind, key string, table []scenarios.Name) listing {
	l := listing{Kind: kind, Key: key}
	for _, n := range table {
		l.Items = append(l.Items, item{n.Name, n.What})
	}
	return l
}
