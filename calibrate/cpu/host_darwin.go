package cpu

import "golang.org/x/sys/unix"

// read asks the kernel. What it does not say stays as it is.
func (h *host) read() {
	if name, err := unix.Sysctl("machdep.cpu.brand_string"); err == nil {
		h.name = name
	}
	if n, err := unix.SysctlUint64("hw.memsize"); err == nil {
		h.memory = int64(n)
	}
	for _, cache := range []string{"hw.l3cachesize", "hw.perflevel0.l2cachesize", "hw.l2cachesize"} {
		if n, err := unix.SysctlUint64(cache); err == nil && n > 0 {
			h.cache = int64(n)
			return
		}
	}
}
