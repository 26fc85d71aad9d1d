// Package training says what a step of training costs: forward, backward and the
// optimiser of a network, on one device or many, and what it keeps in memory.
//
// A [Setup] is all that is decided of a job's step. [Setup.Step] prices its operators on a
// calibrated device, [Setup.Memory] adds up what a device holds. Image networks, encoders
// and recurrent networks come from orrery/workloads/net, language models from
// orrery/workloads/llm, denoisers from orrery/workloads/diffusion.
//
// Start reading at Setup.
package training
