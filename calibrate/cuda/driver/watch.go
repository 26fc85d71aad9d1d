//go:build linux && (amd64 || arm64)

package driver

import (
	"fmt"
	"strings"
	"sync"
	"time"
	"unsafe"

	"orrery/calibrate/cuda/device"
)

// nvml reads what the card does while it is measured. It never sets anything.
type nvml struct {
	init, byBus, clock, maxClock, power, limit, temperature, throttle, driver function

	card uintptr
}

func (n *nvml) lib() *library { return n.init.lib }

// Constants of nvml.h.
const (
	clockSM        = 1
	sensorGPU      = 0
	driverNameSize = 80
)

// reasons are why a card runs below its highest clock, by their bits.
var reasons = []struct {
	bit  uint64
	name string
}{
	{0x2, "application clocks are set"}, {0x4, "power limit"}, {0x8, "hardware slowdown"}, {0x20, "temperature"}, {0x40, "temperature (hardware)"}, {0x80, "power brake"},
}

func (g *GPU) openNVML() (*nvml, error) {
	lib, err := load("NVML", "", []string{"libnvidia-ml.so.1"})
	if err != nil {
		return nil, err
	}
	n := &nvml{}
	if err := lib.bind(map[string]*function{
		"nvmlInit_v2": &n.init, "nvmlDeviceGetHandleByPciBusId_v2": &n.byBus, "nvmlDeviceGetClockInfo": &n.clock, "nvmlDeviceGetMaxClockInfo": &n.maxClock,
		"nvmlDeviceGetPowerUsage": &n.power, "nvmlDeviceGetEnforcedPowerLimit": &n.limit, "nvmlDeviceGetTemperature": &n.temperature,
		"nvmlDeviceGetCurrentClocksThrottleReasons": &n.throttle, "nvmlSystemGetDriverVersion": &n.driver,
	}); err != nil {
		return nil, err
	}
	bus := make([]byte, 64)
	if err := g.busID.call(uintptr(unsafe.Pointer(&bus[0])), uintptr(len(bus)), uintptr(g.device)); err != nil {
		return nil, err
	}
	if err := n.init.call(); err != nil {
		return nil, err
	}
	return n, n.byBus.call(uintptr(unsafe.Pointer(&bus[0])), uintptr(unsafe.Pointer(&n.card)))
}

// number reads a figure, and that of a part of the card; both are 0 if it does not tell.
func (n *nvml) number(f function) float64 {
	var v uint32
	if f.call(n.card, uintptr(unsafe.Pointer(&v))) != nil {
		return 0
	}
	return float64(v)
}

func (n *nvml) numberOf(f function, part uintptr) float64 {
	var v uint32
	if f.call(n.card, part, uintptr(unsafe.Pointer(&v))) != nil {
		return 0
	}
	return float64(v)
}

// Watch looks at the card's clock, power and temperature once a second until stop is
// called, which returns what was seen as facts. Without NVML there are none.
func (g *GPU) Watch() (stop func() []device.Fact) {
	n, err := g.openNVML()
	if err != nil {
		return func() []device.Fact { return nil }
	}
	w := &watched{nvml: n, least: 1e9}
	done := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		for tick := time.NewTicker(time.Second); ; {
			w.look()
			select {
			case <-tick.C:
			case <-done:
				tick.Stop()
				return
			}
		}
	})
	return func() []device.Fact {
		close(done)
		wait.Wait()
		return w.facts()
	}
}

// watched is what was seen of a card.
type watched struct {
	*nvml
	least, most, power, hottest float64
	why                         uint64
}

func (w *watched) look() {
	clock := w.numberOf(w.clock, clockSM)
	if clock > 0 {
		w.least, w.most = min(w.least, clock), max(w.most, clock)
	}
	w.power = max(w.power, w.number(w.nvml.power))
	w.hottest = max(w.hottest, w.numberOf(w.temperature, sensorGPU))
	var bits uint64
	if w.throttle.call(w.card, uintptr(unsafe.Pointer(&bits))) == nil {
		w.why |= bits
	}
}

func (w *watched) facts() []device.Fact {
	var out []device.Fact
	version := make([]byte, driverNameSize)
	if w.driver.call(uintptr(unsafe.Pointer(&version[0])), driverNameSize) == nil {
		out = append(out, device.Fact{Name: "driver version", Value: text(version)})
	}
	if w.most > 0 {
		out = append(out, device.Fact{Name: "clock", Value: fmt.Sprintf("%.0f to %.0f MHz while measuring, at most %.0f", w.least, w.most, w.numberOf(w.maxClock, clockSM))})
	}
	const milli = 1e-3
	out = append(out, device.Fact{Name: "power", Value: fmt.Sprintf("up to %.0f W of %.0f W, up to %.0f °C", w.power*milli, w.number(w.limit)*milli, w.hottest)})
	var why []string
	for _, r := range reasons {
		if w.why&r.bit != 0 {
			why = append(why, r.name)
		}
	}
	if len(why) > 0 {
		out = append(out, device.Fact{Name: "throttled by", Value: strings.Join(why, ", ")})
	}
	return out
}
