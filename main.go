// Orrery is a discrete-event simulator of GPU workloads.
package main

func main() {}
