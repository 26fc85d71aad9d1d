//go:build unix

package durable

import (
	"os/exec"
	"syscall"
)

// detach keeps a terminal's Ctrl-C from the child, which is still needed while the parent stops.
func detach(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
