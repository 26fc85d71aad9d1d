package cmd

import (
	"fmt"

	"orrery/hwmodel"
	"orrery/scenarios"
	"orrery/workloads/diffusion"
	"orrery/workloads/diffusion/solver"
)

// diffusionKinds are the kinds of listing that image and video diffusion has.
var diffusionKinds = []string{"pipelines", "networks", "samplers", "methods", "frameworks", "pool-policies", "spreads", "solvers", "grids"}

// diffusionCatalogue returns what image and video diffusion has names for.
func diffusionCatalogue(want func(kind string) bool) ([]listing, error) {
	pipelines := listing{Kind: "pipelines", Key: "class.pipeline, orrery memory NAME, orrery cost NAME"}
	for _, name := range diffusion.PipelineNames() {
		p, err := diffusion.LoadPipeline(name)
		if err != nil {
			return nil, err
		}
		pipelines.Items = append(pipelines.Items, item{name, p.Title + ": " + describeJob(p.Job())})
	}
	networks := listing{Kind: "networks", Key: "of a pipeline"}
	for _, name := range diffusion.Names() {
		if !want(networks.Kind) {
			break
		}
		text, err := describeNetwork(name)
		if err != nil {
			return nil, err
		}
		networks.Items = append(networks.Items, item{name, text})
	}
	samplers := listing{Kind: "samplers", Key: "class.sampler, --sampler"}
	for _, s := range diffusion.Samplers() {
		samplers.Items = append(samplers.Items, item{s.Name, s.What})
	}
	methods := listing{Kind: "methods", Key: "class.methods, --method"}
	for _, m := range diffusion.Methods() {
		methods.Items = append(methods.Items, item{m[0], m[1]})
	}
	frameworks := listing{Kind: "frameworks", Key: "pool.framework, --framework"}
	for _, name := range hwmodel.Frameworks() {
		f, err := hwmodel.LoadFramework(name)
		if err != nil {
			return nil, err
		}
		frameworks.Items = append(frameworks.Items, item{name, f.Note})
	}
	fixed := listing{Kind: "solvers", Key: "that orrery search solver starts from and compares with"}
	for _, f := range solver.Solvers() {
		fixed.Items = append(fixed.Items, item{f.Name, f.What})
	}
	grids := listing{Kind: "grids", Key: "on which solvers take their steps"}
	for _, g := range solver.Grids() {
		grids.Items = append(grids.Items, item{g.Name, g.What})
	}
	return []listing{
		pipelines, networks, samplers, methods, frameworks, fixed, grids,
		named("pool-policies", "pool.policy", scenarios.DenoisePolicies()),
		named("spreads", "fleet.spread", scenarios.Spreads()),
	}, nil
}

// describeNetwork says in a line what one call of a network takes at its own size.
func describeNetwork(name string) (string, error) {
	n, err := diffusion.Load(name)
	if err != nil {
		return "", err
	}
	g, err := n.Graph(diffusion.Call{})
	if err != nil {
		return "", err
	}
	size := ""
	if c := n.Default; c.Width > 0 {
		size = fmt.Sprintf(" at %dx%d", c.Width, c.Height)
		if c.Frames > 1 {
			size += fmt.Sprintf(" and %d frames", c.Frames)
		}
	}
	return fmt.Sprintf("%s, %.1f M parameters, %.2f TMAC in %d kernels a call%s",
		n.Kind, float64(g.Params())/1e6, float64(g.MACs())/1e12, g.Kernels(), size), nil
}
