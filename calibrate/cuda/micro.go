package cuda

import (
	"fmt"

	"orrery/calibrate"
	"orrery/calibrate/cuda/device"
)

// figure makes a recorder of a figure of the device.
func (p *planner) figure(test, parameter, unit string, value func(seconds float64) float64) func(*calibrate.Measured, float64) {
	return func(m *calibrate.Measured, seconds float64) {
		m.Micro = append(m.Micro, calibrate.Micro{GPU: p.gpu, Test: test, Parameter: parameter, Value: calibrate.Round(value(seconds)), Unit: unit, Source: Source})
	}
}

// rate turns the time for some bytes into GB/s.
func rate(bytes int64) func(float64) float64 {
	return func(seconds float64) float64 { return float64(bytes) / seconds * 1e-9 }
}

func microseconds(seconds float64) float64 { return seconds * 1e6 }

// micros are the device's bandwidths and what a launch costs.
func (p *planner) micros() []*point {
	points := []*point{
		p.launches("graph_launch_min", device.Graph),
		p.launches("stream_launch_min", device.Stream),
		p.write(1 << 28),
		p.copy("dram_bw", "stream_copy_like", 1<<28),
	}
	// Reads of a working set again and again: from L2 while it fits. The sizes are
	// those of gpu-benches.
	for _, kib := range []int64{2048, 4096, 8192, 16896, 23552, 33792, 48128, 63488, 132608, 256000} {
		points = append(points, p.read("l2_dram_read_bw", fmt.Sprintf("working_set_%dkB", kib), kib<<10))
	}
	points = append(points, p.read("dram_bw", "read", 1<<30))
	for _, mib := range []int64{1, 32, 256} {
		points = append(points, p.transfer("h2d_bw", mib, true), p.transfer("d2h_bw", mib, false))
	}
	return points
}

// launches measures a kernel that does nothing.
func (p *planner) launches(parameter string, mode device.Mode) *point {
	return &point{
		table: "microbench", name: "kernel_period_floor " + parameter, mode: mode, cached: true,
		record: p.figure("kernel_period_floor", parameter, "us", microseconds),
		prepare: func(a *arena) (*call, error) {
			return &call{
				enqueue: func(int) error { return a.dev.Launch(&device.Launch{Kernel: "nothing", Block: [3]int{32}}) },
				check:   func() error { return nil }, // it computes nothing
			}, nil
		},
	}
}

const vectorBytes = 16

// read goes over its bytes several times with every thread that the device holds.
func (p *planner) read(test, parameter string, bytes int64) *point {
	const rounds = 4
	blocks := max(1, p.info.SMs*p.info.Threads/threads)
	return &point{
		table: "microbench", name: test + " " + parameter, bytes: bytes, cached: true,
		record: p.figure(test, parameter, "GB/s", rate(rounds*bytes)),
		prepare: func(a *arena) (*call, error) {
			ops, err := a.operands(spec{"fp32", bytes / 4, true}, spec{"fp32", 1, true})
			if err != nil {
				return nil, err
			}
			return &call{
				enqueue: func(slot int) error {
					return a.dev.Launch(&device.Launch{Kernel: "read_vectors", Grid: [3]int{blocks}, Block: [3]int{threads},
						Args: []device.Arg{device.Address(ops[1].slot(slot)), device.Address(ops[0].slot(slot)), device.Int(bytes / vectorBytes), device.Int(rounds)}})
				},
				check: func() error { return ops[1].expect(0, ops[1].value(0), 0) }, // what is read is kept nowhere
			}, nil
		},
	}
}

func (p *planner) write(bytes int64) *point {
	const value = 0x3f800000 // 1 as fp32
	return &point{
		table: "microbench", name: "dram_bw write", bytes: bytes,
		record: p.figure("dram_bw", "write", "GB/s", rate(bytes)),
		prepare: func(a *arena) (*call, error) {
			out, err := a.result("fp32", bytes/4)
			if err != nil {
				return nil, err
			}
			return &call{
				enqueue: func(slot int) error { return writeVectors(a.dev, out.slot(slot), bytes, value) },
				check:   func() error { return all(&out, func(int64) float64 { return 1 }) },
			}, nil
		},
	}
}

func writeVectors(dev device.Device, to device.Ptr, bytes int64, value uint32) error {
	return dev.Launch(&device.Launch{Kernel: "write_vectors", Grid: [3]int{int(ceilDiv(bytes/vectorBytes, threads))}, Block: [3]int{threads},
		Args: []device.Arg{device.Address(to), device.Int(bytes / vectorBytes), device.Int(value)}})
}

// copy counts bytes read and written.
func (p *planner) copy(test, parameter string, bytes int64) *point {
	return &point{
		table: "microbench", name: test + " " + parameter, bytes: 2 * bytes,
		record: p.figure(test, parameter, "GB/s", rate(2*bytes)),
		prepare: func(a *arena) (*call, error) {
			ops, err := a.operands(spec{"fp32", bytes / 4, true}, spec{"fp32", bytes / 4, false})
			if err != nil {
				return nil, err
			}
			return &call{
				enqueue: func(slot int) error {
					return a.dev.Launch(&device.Launch{Kernel: "copy_vectors", Grid: [3]int{int(ceilDiv(bytes/vectorBytes, threads))}, Block: [3]int{threads},
						Args: []device.Arg{device.Address(ops[1].slot(slot)), device.Address(ops[0].slot(slot)), device.Int(bytes / vectorBytes)}})
				},
				check: func() error { return all(&ops[1], ops[0].value) },
			}, nil
		},
	}
}

// all holds numbers spread over a result against what they should be exactly.
func all(o *operand, want func(i int64) float64) error {
	for _, i := range samples(64, o.n) {
		if err := o.expect(i, want(i), 0); err != nil {
			return err
		}
	}
	return nil
}

// transfer copies between the device and pinned memory of the host. The host's copy of
// the numbers came from the device before.
func (p *planner) transfer(test string, mib int64, toDevice bool) *point {
	bytes := mib << 20
	parameter := fmt.Sprintf("pinned_%dMB", mib)
	return &point{
		table: "microbench", name: test + " " + parameter, bytes: bytes, cached: true, mode: device.Stream,
		record: p.figure(test, parameter, "GB/s", rate(bytes)),
		prepare: func(a *arena) (*call, error) {
			ops, err := a.operands(spec{"fp32", bytes / 4, true}, spec{"fp32", bytes / 4, false})
			if err != nil {
				return nil, err
			}
			host, err := a.host(bytes)
			if err != nil {
				return nil, err
			}
			if err := a.dev.Copy(host, ops[0].slot(0), bytes); err != nil {
				return nil, err
			}
			return &call{
				enqueue: func(slot int) error {
					if toDevice {
						return a.dev.Copy(ops[1].slot(slot), host, bytes)
					}
					return a.dev.Copy(host, ops[0].slot(slot), bytes)
				},
				check: func() error {
					if err := a.dev.Copy(ops[1].slot(0), host, bytes); err != nil {
						return err
					}
					return all(&ops[1], ops[0].value)
				},
			}, nil
		},
	}
}
