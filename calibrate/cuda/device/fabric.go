package device

// Fabric is the devices of a machine with what joins them. It belongs to the goroutine
// of the device that it was opened by.
type Fabric interface {
	Devices() int
	Link() string // as measurement files name it
	// Collective does a collective n times over the first devices of the machine, and
	// returns the time of them all. bytes are counted as nccl-tests does: the whole of
	// what is reduced, gathered or exchanged.
	Collective(name string, devices int, bytes int64, n int) (seconds float64, err error)
	// Check says whether the collective before left what it should have.
	Check(name string, devices int, bytes int64) error
	// Copy copies from the first device to the second, n times.
	Copy(bytes int64, n int) (seconds float64, err error)
	Close() error
}
