//go:build linux && (amd64 || arm64)

package driver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"orrery/calibrate/cuda/device"
	"orrery/calibrate/cuda/number"
)

// Constants of nccl.h and nvml.h.
const (
	ncclFloat16    = 6
	ncclSum        = 0
	halfBytes      = 2
	mostNVLinks    = 18
	largestMessage = 1 << 28 // bytes, that buffers are made for
)

// nccl is the collectives of the machine's devices, driven by one goroutine.
type nccl struct {
	initAll, destroy, groupStart, groupEnd                        function
	allReduce, allGather, reduceScatter, broadcast, send, receive function
	enablePeer, copyPeer, setMemory16                             function
	nvlinkState                                                   function
}

// rank is one device of a fabric.
type rank struct {
	device     int32
	context    uintptr
	stream     uintptr
	begin, end uintptr // events
	send, recv uint64  // buffers of largestMessage bytes
}

// Fabric is the devices of this machine with NCCL between them.
type Fabric struct {
	*nccl
	gpu   *GPU
	ranks []rank
	comms map[int][]uintptr // communicators by number of devices
	link  string
}

// Fabric opens all devices of the machine, whose contexts take some memory each.
func (g *GPU) Fabric() (device.Fabric, error) {
	var n int32
	if err := g.count.call(uintptr(unsafe.Pointer(&n))); err != nil {
		return nil, err
	}
	if n < 2 {
		return nil, &device.Missing{What: "the machine has one GPU"}
	}
	lib, err := load("NCCL", "", []string{"libnccl.so.2"})
	if err != nil {
		return nil, &device.Missing{What: "NCCL is not installed", Do: "install it with pip install nvidia-nccl-cu12"}
	}
	f := &Fabric{nccl: &nccl{}, gpu: g, comms: map[int][]uintptr{}}
	if err := errors.Join(lib.bind(map[string]*function{
		"ncclCommInitAll": &f.initAll, "ncclCommDestroy": &f.destroy, "ncclGroupStart": &f.groupStart, "ncclGroupEnd": &f.groupEnd, "ncclAllReduce": &f.allReduce,
		"ncclAllGather": &f.allGather, "ncclReduceScatter": &f.reduceScatter, "ncclBroadcast": &f.broadcast, "ncclSend": &f.send, "ncclRecv": &f.receive,
	}), g.lib.bind(map[string]*function{
		"cuCtxEnablePeerAccess": &f.enablePeer, "cuMemcpyPeerAsync": &f.copyPeer, "cuMemsetD16_v2": &f.setMemory16,
	})); err != nil {
		return nil, &device.Missing{What: err.Error()}
	}
	for i := range n {
		r := rank{}
		if err := f.open(&r, i); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		f.ranks = append(f.ranks, r)
	}
	f.link = f.look()
	// Where devices cannot reach each other, copies go through the host.
	_ = f.enablePeer.call(f.ranks[1].context, 0)
	return f, g.setCurrent.call(g.context)
}

func (f *Fabric) open(r *rank, ordinal int32) error {
	g := f.gpu
	if err := g.get.call(uintptr(unsafe.Pointer(&r.device)), uintptr(ordinal)); err != nil {
		return err
	}
	if err := g.retain.call(uintptr(unsafe.Pointer(&r.context)), uintptr(r.device)); err != nil {
		return err
	}
	if err := g.setCurrent.call(r.context); err != nil {
		return err
	}
	return errors.Join(
		g.newStream.call(uintptr(unsafe.Pointer(&r.stream)), streamNonBlocking),
		g.newEvent.call(uintptr(unsafe.Pointer(&r.begin)), 0), g.newEvent.call(uintptr(unsafe.Pointer(&r.end)), 0),
		g.alloc.call(uintptr(unsafe.Pointer(&r.send)), largestMessage), g.alloc.call(uintptr(unsafe.Pointer(&r.recv)), largestMessage),
	)
}

// look returns what joins the devices: NVLink if the first one has links that are up,
// through switches if there are more than two devices.
func (f *Fabric) look() string {
	n, err := f.gpu.openNVML()
	if err != nil || n.lib().bind(map[string]*function{"nvmlDeviceGetNvLinkState": &f.nvlinkState}) != nil {
		return "pcie"
	}
	up := false
	for i := range uintptr(mostNVLinks) {
		var active uint32
		if f.nvlinkState.call(n.card, i, uintptr(unsafe.Pointer(&active))) == nil && active == 1 {
			up = true
		}
	}
	switch {
	case up && len(f.ranks) == 2:
		return "nvlink_pair"
	case up:
		return "nvswitch"
	}
	return "pcie"
}

// Devices returns the number of devices.
func (f *Fabric) Devices() int { return len(f.ranks) }

// Link names what joins them.
func (f *Fabric) Link() string { return f.link }

// Close gives everything back but the first device's context.
func (f *Fabric) Close() error {
	g := f.gpu
	var err error
	for n := range len(f.ranks) + 1 {
		for _, c := range f.comms[n] {
			err = errors.Join(err, f.destroy.call(c))
		}
	}
	for _, r := range f.ranks {
		err = errors.Join(err, g.setCurrent.call(r.context), g.waitStream.call(r.stream), g.free.call(uintptr(r.send)), g.free.call(uintptr(r.recv)),
			g.destroyEvent.call(r.begin), g.destroyEvent.call(r.end), g.destroyStream.call(r.stream), g.release.call(uintptr(r.device)))
	}
	f.ranks = nil
	return errors.Join(err, g.setCurrent.call(g.context))
}

// among returns the communicators of the first n devices.
func (f *Fabric) among(n int) ([]uintptr, error) {
	if c, ok := f.comms[n]; ok {
		return c, nil
	}
	c, devices := make([]uintptr, n), make([]int32, n)
	for i := range devices {
		devices[i] = int32(i)
	}
	if err := f.initAll.call(uintptr(unsafe.Pointer(&c[0])), uintptr(n), uintptr(unsafe.Pointer(&devices[0]))); err != nil {
		return nil, err
	}
	f.comms[n] = c
	return c, nil
}

// fill makes device i send numbers i+1, and leaves -1 where results come.
func (f *Fabric) fill(n int, bytes int64) error {
	for i, r := range f.ranks[:n] {
		mine := uintptr(binary.LittleEndian.Uint16(number.Append(nil, "fp16", float64(i+1))))
		none := uintptr(binary.LittleEndian.Uint16(number.Append(nil, "fp16", -1)))
		if err := errors.Join(f.gpu.setCurrent.call(r.context), f.setMemory16.call(uintptr(r.send), mine, uintptr(bytes/halfBytes)), f.setMemory16.call(uintptr(r.recv), none, uintptr(bytes/halfBytes)),
			f.gpu.waitContext.call()); err != nil {
			return err
		}
	}
	return nil
}

// Collective does a collective n times.
func (f *Fabric) Collective(name string, devices int, bytes int64, n int) (float64, error) {
	comms, err := f.among(devices)
	if err != nil {
		return 0, err
	}
	return f.timed(devices, bytes, n, func() error {
		if err := f.groupStart.call(); err != nil {
			return err
		}
		for i := range f.ranks[:devices] {
			if err := f.enqueue(name, i, devices, uintptr(bytes/halfBytes), comms[i]); err != nil {
				return errors.Join(err, f.groupEnd.call())
			}
		}
		return f.groupEnd.call()
	})
}

// enqueue is one device's part of a collective over count numbers.
func (f *Fabric) enqueue(name string, i, devices int, count, comm uintptr) error {
	r := &f.ranks[i]
	send, recv, share := uintptr(r.send), uintptr(r.recv), count/uintptr(devices)
	switch name {
	case "all_reduce":
		return f.allReduce.call(send, recv, count, ncclFloat16, ncclSum, comm, r.stream)
	case "all_gather":
		return f.allGather.call(send, recv, share, ncclFloat16, comm, r.stream)
	case "reduce_scatter":
		return f.reduceScatter.call(send, recv, share, ncclFloat16, ncclSum, comm, r.stream)
	case "broadcast":
		return f.broadcast.call(send, recv, count, ncclFloat16, 0, comm, r.stream)
	case "send_recv":
		if i == 0 {
			return f.send.call(send, count, ncclFloat16, 1, comm, r.stream)
		}
		return f.receive.call(recv, count, ncclFloat16, 0, comm, r.stream)
	case "alltoall":
		for peer := range uintptr(devices) {
			at := peer * share * halfBytes
			if err := errors.Join(f.send.call(send+at, share, ncclFloat16, peer, comm, r.stream), f.receive.call(recv+at, share, ncclFloat16, peer, comm, r.stream)); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("driver: no collective %q", name)
}

// Copy copies from the first device to the second.
func (f *Fabric) Copy(bytes int64, n int) (float64, error) {
	a, b := &f.ranks[0], &f.ranks[1]
	return f.timed(2, bytes, n, func() error {
		if err := f.gpu.setCurrent.call(a.context); err != nil {
			return err
		}
		return f.copyPeer.call(uintptr(b.recv), b.context, uintptr(a.send), a.context, uintptr(bytes), a.stream)
	})
}

// timed returns the time of n calls on the slowest of the devices.
func (f *Fabric) timed(devices int, bytes int64, n int, work func() error) (float64, error) {
	g := f.gpu
	if bytes > largestMessage {
		return 0, &device.Missing{What: fmt.Sprintf("messages are %d bytes at most", largestMessage)}
	}
	if err := f.fill(devices, bytes); err != nil {
		return 0, err
	}
	each := func(do func(r *rank) error) error {
		for i := range f.ranks[:devices] {
			r := &f.ranks[i]
			if err := errors.Join(g.setCurrent.call(r.context), do(r)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := each(func(r *rank) error { return g.recordEvent.call(r.begin, r.stream) }); err != nil {
		return 0, err
	}
	for range n {
		if err := work(); err != nil {
			return 0, err
		}
	}
	if err := each(func(r *rank) error { return g.recordEvent.call(r.end, r.stream) }); err != nil {
		return 0, err
	}
	most := float32(0)
	err := each(func(r *rank) error {
		var milliseconds float32
		err := errors.Join(g.waitEvent.call(r.end), g.elapsed.call(uintptr(unsafe.Pointer(&milliseconds)), r.begin, r.end))
		most = max(most, milliseconds)
		return err
	})
	return max(1e-9, float64(most)*1e-3), errors.Join(err, g.setCurrent.call(g.context))
}

// Check looks at the first and the last number that each device should have received.
func (f *Fabric) Check(name string, devices int, bytes int64) error {
	for i := range f.ranks[:devices] {
		for _, w := range received(name, i, devices, bytes/halfBytes) {
			data := make([]byte, halfBytes)
			r := &f.ranks[i]
			if err := errors.Join(f.gpu.setCurrent.call(r.context), f.gpu.toHost.call(uintptr(unsafe.Pointer(&data[0])), uintptr(r.recv)+uintptr(w.at*halfBytes), halfBytes), f.gpu.setCurrent.call(f.gpu.context)); err != nil {
				return err
			}
			if got := number.Decode("fp16", data); got != w.value {
				return fmt.Errorf("device %d holds %g at %d, should hold %g", i, got, w.at, w.value)
			}
		}
	}
	return nil
}
