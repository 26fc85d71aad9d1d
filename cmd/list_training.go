package cmd

import (
	"fmt"

	"orrery/policies/lrsched"
	"orrery/scenarios"
	"orrery/workloads/training"
)

// trainingCatalogue returns what has a name in questions about training.
func trainingCatalogue(want func(kind string) bool) ([5]listing, error) {
	budgets := listing{Kind: "budgets", Key: "orrery budget NAME"}
	for _, name := range scenarios.Budgets() {
		b, err := scenarios.LoadBudget(name)
		if err != nil {
			return [5]listing{}, err
		}
		budgets.Items = append(budgets.Items, item{name, b.Description})
	}
	jobs := listing{Kind: "training", Key: "orrery run NAME"}
	for _, name := range scenarios.Trainings() {
		if !want(jobs.Kind) {
			break
		}
		t, err := scenarios.LoadTraining(name)
		if err != nil {
			return [5]listing{}, err
		}
		jobs.Items = append(jobs.Items, item{name, t.Description})
	}
	schedules := listing{Kind: "schedules", Key: "schedules"}
	for _, n := range lrsched.Profiles() {
		schedules.Items = append(schedules.Items, item{n.Name, n.What})
	}
	networks := listing{Kind: "trainable", Key: "network"}
	for _, name := range training.Names() {
		if !want(networks.Kind) {
			break
		}
		n, err := training.LoadNetwork(name)
		if err != nil {
			return [5]listing{}, err
		}
		networks.Items = append(networks.Items, item{name, fmt.Sprintf("%.4g million parameters", float64(n.Params())/1e6)})
	}
	systems := listing{Kind: "systems", Key: "system"}
	for _, s := range training.Systems() {
		systems.Items = append(systems.Items, item{s.Name, s.What})
	}
	return [5]listing{budgets, schedules, networks, systems, jobs}, nil
}
