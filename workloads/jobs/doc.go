// Package jobs generates training jobs as clusters meet them: many short, few long, some on
// several devices, and not all as much faster on a faster device as others.
//
// [Mix] is what there is to choose; [Mix.Source] gives the jobs one after another. What they
// train and how fast comes from measurements published with Sia (see rates.go), how long
// they are and how wide from the generators of Sia and Gavel.
package jobs
