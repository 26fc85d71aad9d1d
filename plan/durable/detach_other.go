//go:build !unix

package durable

import "os/exec"

// detach does nothing here: a Ctrl-C ends the child with its parent.
func detach(*exec.Cmd) {}
