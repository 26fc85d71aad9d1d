// Package solver samples diffusion models along their probability-flow ODE, and leaves every choice
// of every step free: the framework of exponential integrators that Unified Sampling Framework (Liu
// and others, ICLR 2024) puts the known solvers into. DDIM, DPM-Solver++, DEIS, UniPC, Heun and
// their like are fixed points of it (Fixed), and a searched schedule is any other one.
//
// A Schedule is data: it is checked, compiled into a list of linear combinations whose coefficients
// depend on the times alone, and run on a model by Sample. What a model costs is not known
// here; the file that Encode writes is one that diffusion jobs take as their sampler.
//
// Start reading at Schedule, then compile.go.
package solver
