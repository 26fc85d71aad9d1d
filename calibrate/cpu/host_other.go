//go:build !linux && !darwin

package cpu

func (h *host) read() {}
