// Package hwmodel is the physics of a simulation: what devices and links are, as
// numbers with their source, and how long work takes on them.
package hwmodel
