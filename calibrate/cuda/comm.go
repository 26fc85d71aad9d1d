package cuda

import (
	"fmt"

	"orrery/calibrate/cuda/device"
)

// collectives are those that both NCCL and measurement files know.
var collectives = []string{"all_reduce", "all_gather", "reduce_scatter", "broadcast", "alltoall", "send_recv"}

// transfers are collectives among the devices of the machine, and copies from one to
// another. A machine with one device has none.
func (p *planner) transfers() []*point {
	if p.fabric == nil {
		return nil
	}
	var points []*point
	for n := 2; n <= p.fabric.Devices(); n *= 2 {
		for _, name := range collectives {
			if name == "send_recv" && n > 2 {
				continue
			}
			for _, bytes := range p.ladder(1<<10, 1<<28) {
				points = append(points, p.collective(name, n, int64(bytes)))
			}
		}
	}
	for _, mib := range []int64{1, 32, 256} {
		points = append(points, p.peerCopy(mib))
	}
	return points
}

func (p *planner) collective(name string, n int, bytes int64) *point {
	return &point{
		table: "comm", name: fmt.Sprintf("%s n=%d bytes=%d", name, n, bytes), cached: true,
		record: row("comm", p.gpu, "fp16", Source, words{"coll": name, "link": p.fabric.Link()}, columns{"n_gpus": float64(n), "gpus_per_node": float64(n), "bytes": float64(bytes)}),
		prepare: func(*arena) (*call, error) {
			return &call{
				seconds: func(calls int) (float64, error) { return p.fabric.Collective(name, n, bytes, calls) },
				check:   func() error { return p.fabric.Check(name, n, bytes) },
			}, nil
		},
	}
}

func (p *planner) peerCopy(mib int64) *point {
	bytes := mib << 20
	parameter := fmt.Sprintf("unidirectional_%dMB", mib)
	return &point{
		table: "microbench", name: "p2p_bw " + parameter, cached: true,
		record: p.figure("p2p_bw", parameter, "GB/s", rate(bytes)),
		prepare: func(*arena) (*call, error) {
			return &call{
				seconds: func(calls int) (float64, error) { return p.fabric.Copy(bytes, calls) },
				check:   func() error { return p.fabric.Check("copy", 2, bytes) },
			}, nil
		},
	}
}

// own is the recording of a call that measures itself.
type own struct {
	call  *call
	calls int
}

func (o own) Seconds() (float64, error) { return o.call.seconds(o.calls) }
func (o own) Close() error              { return nil }

var _ device.Recording = own{}
