// Package diffusion describes image and video diffusion as the hardware sees it:
// networks as graphs of operators with the tensors that pass between them, and
// pipelines that run an encoder, a denoiser a number of times, and a decoder.
//
// A [Graph] is what one call of a network launches, in order, as an eager framework
// does. Work, weights, the memory that is live at each operator, and the time on a
// device all follow from it; methods that save memory or time are transformations of it.
//
// A [Network] is a descriptor, a TOML file in the folder networks, and a shape of one of
// the kinds in kinds.go that writes the graph of any [Call]. The UNets, motion modules and
// autoencoders of Stable Diffusion follow diffusers 0.30 operator by operator, as the
// layer tables that they are tested against do. Tensors live as long as Python names them:
// an argument until its call returns, for the caller's frame holds it; a variable until it
// is bound anew; all skip tensors of a level until the level returns. Blocks mark what the
// Streamlined Inference paper groups: a residual block with its transformer, resampling, a
// temporal layer, a temporal residual block with its blend. Norms of temporal layers are
// over a whole clip, so that slices of positions need their statistics first, which the
// paper leaves aside.
//
// What an eager run launches beside the operators of these graphs, as the layer tables
// leave it out, is small: SiLU of the time embedding, the division after each attention by
// a factor of one, and the copy behind a transformer whose projections are convolutions.
//
// A [Footprint] is what a job puts into memory: followed through the allocator of
// [orrery/hwmodel], with or without a limit, it says what each operator holds and which
// cards run it. docs/memory.md says what that rests on.
//
// Start reading at [Graph], then at [Builder], which the networks are written with.
package diffusion
