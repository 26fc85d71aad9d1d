// Package workloads says what is asked of a cluster and when: requests and the
// sources they come from. Its subpackages hold the models as the hardware sees
// them (llm) and traffic (trace).
//
// Start reading at [Request] and [Source].
package workloads
