//go:build !linux

package cmd

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func smallDisk(ts *testscript.TestScript, _ bool, _ []string) { ts.Fatalf("not on this system") }

func canMount(*testing.T) bool { return false }
