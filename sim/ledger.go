package sim

import "fmt"

// Ledger counts units of something limited: KV blocks, slots, bytes. It cannot
// go negative or over its capacity: an operation that would is a broken model
// and panics. Peak remembers the highest use. The zero Ledger has no capacity.
type Ledger struct {
	capacity, used, peak int64
}

// NewLedger returns an empty ledger of the given capacity.
func NewLedger(capacity int64) Ledger {
	if capacity < 0 {
		panic(fmt.Sprintf("sim: ledger of negative capacity %d", capacity))
	}
	return Ledger{capacity: capacity}
}

// Take takes n units. It panics if fewer are free; ask [Ledger.Free] first.
func (l *Ledger) Take(n int64) {
	if n < 0 || n > l.capacity-l.used {
		panic(fmt.Sprintf("sim: %d units asked of a ledger with %d of %d in use", n, l.used, l.capacity))
	}
	l.used += n
	l.peak = max(l.peak, l.used)
}

// Give gives n units back. It panics if fewer were in use.
func (l *Ledger) Give(n int64) {
	if n < 0 || n > l.used {
		panic(fmt.Sprintf("sim: %d units returned to a ledger with %d of %d in use", n, l.used, l.capacity))
	}
	l.used -= n
}

// Free returns the number of units that can be taken.
func (l *Ledger) Free() int64 { return l.capacity - l.used }

// Used returns the number of units taken and not given back.
func (l *Ledger) Used() int64 { return l.used }

// Peak returns the highest number of units ever in use.
func (l *Ledger) Peak() int64 { return l.peak }

// Capacity returns the total number of units.
func (l *Ledger) Capacity() int64 { return l.capacity }
