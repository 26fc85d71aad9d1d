package decoder

import (
	"context"
	"errors"
	"sync"

	"orrery/calibrate/cuda/device"
	"orrery/infer"
)

// Worker is a model with a goroutine of its own, which the device belongs to, so that
// others can use it from wherever they are, one at a time.
type Worker struct {
	mu      sync.Mutex // of the channel's two ends: one call at a time
	work    chan func(*Model)
	stopped chan error
}

// Start opens a device on a goroutine of its own and makes a model there. What open
// returns last gives the device back.
func Start(open func() (device.Device, func() error, error), c Config) (*Worker, error) {
	w := &Worker{work: make(chan func(*Model)), stopped: make(chan error, 1)}
	begun := make(chan error)
	go func() { w.stopped <- w.run(open, c, begun) }()
	if err := <-begun; err != nil {
		return nil, errors.Join(err, <-w.stopped)
	}
	return w, nil
}

// run makes the model, says how that went, and does the work that comes.
func (w *Worker) run(open func() (device.Device, func() error, error), c Config, begun chan<- error) error {
	dev, closeDevice, err := open()
	if err != nil {
		begun <- err
		return nil
	}
	m, err := New(dev, c)
	begun <- err
	if err != nil {
		return closeDevice()
	}
	for do := range w.work {
		do(m)
	}
	return errors.Join(m.Close(), closeDevice())
}

// do runs a function on the model's goroutine and waits for it.
func (w *Worker) do(f func(*Model)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	done := make(chan struct{})
	w.work <- func(m *Model) {
		defer close(done)
		f(m)
	}
	<-done
}

// Step is [Model.Step].
func (w *Worker) Step(ctx context.Context, parts []infer.Part) (next []int32, err error) {
	w.do(func(m *Model) { next, err = m.Step(ctx, parts) })
	return next, err
}

// Free is [Model.Free].
func (w *Worker) Free(slot int) { w.do(func(m *Model) { m.Free(slot) }) }

// Close ends the goroutine and gives the device back. The worker is of no use after it.
func (w *Worker) Close() error {
	close(w.work)
	return <-w.stopped
}
