package cpu

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// read asks the files of /proc and /sys. What they do not say stays as it is.
func (h *host) read() {
	if name := field("/proc/cpuinfo", "model name"); name != "" {
		h.name = name
	}
	h.memory = kibibytes(field("/proc/meminfo", "MemTotal"))
	h.available = kibibytes(field("/proc/meminfo", "MemAvailable"))
	sizes, _ := filepath.Glob("/sys/devices/system/cpu/cpu0/cache/index*/size") // the pattern is well formed
	var last int64
	for _, f := range sizes {
		if text, err := os.ReadFile(f); err == nil {
			last = max(last, kibibytes(strings.TrimSpace(string(text))))
		}
	}
	if last > 0 {
		h.cache = last
	}
}

// field returns the value of the first line "key : value" of a file, "" if there is none.
func field(file, key string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		k, v, ok := strings.Cut(s.Text(), ":")
		if ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// kibibytes returns the bytes of a number such as "32768K" or "24576 kB", 0 if it is none.
func kibibytes(s string) int64 {
	s = strings.TrimSpace(strings.TrimSuffix(strings.TrimSuffix(s, "kB"), "K"))
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}
