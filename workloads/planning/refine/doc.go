// Package refine asks what a plan is worth that was guessed point by point and refined in a few
// denoising steps, as Trajectory Diffuser makes them, against one that is denoised from noise in
// many. The trajectories are analytic: walks around an obstacle by one of several routes, whose
// diffusion model, and whose best next point, are known in closed form.
//
// Start reading at Routes, then Compare.
package refine
