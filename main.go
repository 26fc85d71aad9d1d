// Orrery is a discrete-event simulator of GPU workloads.
package main

import (
	"os"

	"orrery/cmd"
)

func main() { os.Exit(cmd.Main()) }
