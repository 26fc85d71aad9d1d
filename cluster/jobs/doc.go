// Package jobs runs training jobs on a cluster: gangs of devices that repeat steps until
// their work is done, shared out by a policy of orrery/policies/share.
//
// A [Room] has devices of some types on nodes. Jobs arrive, are given devices, lose them
// and get others; a change costs a restart, a failure what was not yet kept in a
// checkpoint. Every device-second is accounted for: useful, restarting, checkpointing,
// lost or idle.
//
// [Run] has a clock of its own. A Room may as well stand on the clock of something else that
// takes devices and gives them back, as a fleet that serves text does ([Room.Lend]).
//
// Start reading at Config and Room.
package jobs
