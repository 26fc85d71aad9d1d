// Package posttrain describes post-training of diffusion models as job graphs: phases of
// network calls with barriers between them. Preference optimisation (SPO, Diffusion-DPO)
// and distillation (Hyper-SD, DisBack, DMD2) are [Recipe] values; what a phase asks of a
// device follows from the networks of orrery/workloads/diffusion.
//
// Counts of calls are exact, as the published procedures have them; times are those of
// kernels at the micro-batch that the recipe runs, so that a recipe of small batches is slow
// for that reason and no other.
//
// Start reading at Recipe.
package posttrain
