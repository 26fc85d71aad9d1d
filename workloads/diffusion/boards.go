package diffusion

import "orrery/hwmodel"

// Board is how a run goes on one board.
type Board struct {
	Name    string
	Memory  int64 // bytes, as the driver offers them
	Fit     Fit
	Run     *MemoryRun // on this board; nil where it does not run
	Err     error      // why it does not
	Instead string     // the nearest setting that would run, if one was looked for and found
}

// Boards follows the run on every device. free is the same run with no limit.
func (f *Footprint) Boards(devices []*hwmodel.Device, free *MemoryRun) []Board {
	boards := make([]Board, len(devices))
	for i, d := range devices {
		b := &boards[i]
		b.Name, b.Memory = d.Name, d.Memory
		b.Fit, b.Run, b.Err = f.On(d.Memory, free)
	}
	return boards
}
