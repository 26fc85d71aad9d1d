// Package planning describes planners that act in a control loop as the hardware sees
// them: sequence models and diffusion over trajectories, from Decision Transformer to
// Trajectory Diffuser. Each is a [Planner], which writes the [Program] of one action: the
// modules that are called, kernel by kernel, and how many times.
//
// Modules are graphs of orrery/workloads/diffusion, declared layer by layer; kernels,
// multiply-adds and time on a device follow from them. Kernel counts are what matters
// most: at the sizes of these networks an eager framework is bound by launches.
//
// Start reading at Planner; the networks are in unet.go and transformer.go.
package planning
