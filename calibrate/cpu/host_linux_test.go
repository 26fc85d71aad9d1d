package cpu

import "testing"

func TestSizesOfCaches(t *testing.T) {
	for text, want := range map[string]int64{"32768K": 32 << 20, "24576 kB": 24 << 20, "": 0, "many": 0} {
		if got := kibibytes(text); got != want {
			t.Errorf("%q is %d bytes, want %d", text, got, want)
		}
	}
}
