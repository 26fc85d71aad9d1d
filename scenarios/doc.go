// Package scenarios turns a TOML file into a validated experiment. It is the only
// place where names become values: models, devices, engines, policies, routers,
// arrival processes and tables of lengths are looked up here and nowhere else.
//
// [Load] reads a file or a shipped scenario and refuses what makes no sense, in
// one line with file and line number. [Scenario.Build] wires a [cluster.Config] for
// one run, and [Run] carries it out: a run is a function of scenario and seed.
//
// Parts of a section are chosen by a name in it, such as policy.batch or
// traffic.arrivals. The chosen part brings its own keys into the section: those of
// a batch policy are the toml tags of the policy's own struct. The tables of names
// are in names.go (policies) and traffic.go (traffic).
package scenarios
