// Package serving runs published measurements of serving engines again in simulation: so
// many clients keep an engine busy, each of which sends its next request when it has the
// answer to the last. Start at [Score]; [Simulate] runs one row.
package serving
