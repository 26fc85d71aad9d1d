package timeline

import (
	"io"

	"google.golang.org/protobuf/encoding/protowire"

	"orrery/sim"
)

// Field numbers of perfetto.protos, from protos/perfetto/trace in
// github.com/google/perfetto. Only what is written is named.
const (
	tracePacket = 1 // Trace.packet

	packetTimestamp  = 8 // TracePacket: nanoseconds
	packetSequence   = 10
	packetEvent      = 11
	packetInterned   = 12
	packetFlags      = 13
	packetDescriptor = 60

	internedNames    = 2 // InternedData.event_names
	internedArgNames = 3 // InternedData.debug_annotation_names
	nameIID          = 1 // EventName and DebugAnnotationName
	nameText         = 2

	descriptorUUID     = 1 // TrackDescriptor
	descriptorName     = 2
	descriptorProcess  = 3
	descriptorParent   = 5
	descriptorCounter  = 8
	descriptorOrdering = 11
	descriptorRank     = 12
	orderExplicit      = 3 // TrackDescriptor.ChildTracksOrdering.EXPLICIT
	processPID         = 1 // ProcessDescriptor
	processName        = 6
	counterUnit        = 3 // CounterDescriptor
	unitCount          = 2

	eventArgs    = 4 // TrackEvent.debug_annotations
	eventType    = 9
	eventNameIID = 10
	eventTrack   = 11
	eventValue   = 30
	eventFlows   = 47 // fixed64
	argNameIID   = 1  // DebugAnnotation
	argInt       = 4

	sliceBegin, sliceEnd, counterSample = 1, 2, 4 // TrackEvent.Type

	stateCleared, stateNeeded = 1, 2 // TracePacket.SequenceFlags
)

// sequence is the one packet sequence of a trace.
const sequence = 1

// perfetto writes a stream of TracePackets. Names are written once and then named
// by number, which the reader knows to expect from the packets' sequence flags.
type perfetto struct {
	out      output
	tracks   track
	pids     uint64
	started  bool
	names    map[string]uint64
	argNames map[string]uint64

	packet, event, interned, inner []byte // reused
}

func newPerfetto(w io.Writer) *perfetto {
	return &perfetto{out: output{w: w}, names: make(map[string]uint64), argNames: make(map[string]uint64)}
}

func (p *perfetto) group(name string, rank int) track {
	p.pids++
	process := appendInt(nil, processPID, p.pids)
	process = appendText(process, processName, name)
	p.tracks++
	d := appendInt(p.inner[:0], descriptorUUID, uint64(p.tracks))
	d = appendBytes(d, descriptorProcess, process)
	d = appendInt(d, descriptorOrdering, orderExplicit)
	p.inner = appendInt(d, descriptorRank, uint64(rank))
	p.describe()
	return p.tracks
}

func (p *perfetto) row(in track, name string, rank int) track { return p.child(in, name, rank, nil) }

func (p *perfetto) counter(in track, name string, rank int) track {
	return p.child(in, name, rank, appendInt(nil, counterUnit, unitCount))
}

// child describes a track within another; with a counter descriptor it is a counter.
func (p *perfetto) child(in track, name string, rank int, counter []byte) track {
	p.tracks++
	d := appendInt(p.inner[:0], descriptorUUID, uint64(p.tracks))
	d = appendInt(d, descriptorParent, uint64(in))
	d = appendText(d, descriptorName, name)
	if counter != nil {
		d = appendBytes(d, descriptorCounter, counter)
	}
	d = appendInt(d, descriptorOrdering, orderExplicit)
	p.inner = appendInt(d, descriptorRank, uint64(rank))
	p.describe()
	return p.tracks
}

// describe writes the track descriptor in p.inner.
func (p *perfetto) describe() {
	p.packet = appendBytes(p.begin(), packetDescriptor, p.inner)
	p.end()
}

func (p *perfetto) slice(on track, s *slice) {
	p.interned = p.interned[:0]
	e := appendInt(p.event[:0], eventType, sliceBegin)
	e = appendInt(e, eventTrack, uint64(on))
	e = appendInt(e, eventNameIID, p.intern(p.names, internedNames, s.name))
	for _, a := range s.args {
		p.inner = appendInt(p.inner[:0], argNameIID, p.intern(p.argNames, internedArgNames, a.name))
		p.inner = appendInt(p.inner, argInt, uint64(a.value))
		e = appendBytes(e, eventArgs, p.inner)
	}
	for _, f := range s.flows {
		e = protowire.AppendTag(e, eventFlows, protowire.Fixed64Type)
		e = protowire.AppendFixed64(e, f)
	}
	p.event = e
	p.emit(s.from)
	e = appendInt(p.event[:0], eventType, sliceEnd)
	p.event = appendInt(e, eventTrack, uint64(on))
	p.emit(s.to)
}

func (p *perfetto) value(on track, at sim.Time, v int64) {
	e := appendInt(p.event[:0], eventType, counterSample)
	e = appendInt(e, eventTrack, uint64(on))
	p.event = appendInt(e, eventValue, uint64(v))
	p.emit(at)
}

// intern returns the number of a name, and adds new ones to the packet's interned
// data.
func (p *perfetto) intern(table map[string]uint64, field protowire.Number, name string) uint64 {
	id, ok := table[name]
	if !ok {
		id = uint64(len(table)) + 1
		table[name] = id
		entry := appendInt(nil, nameIID, id)
		p.interned = appendBytes(p.interned, field, appendText(entry, nameText, name))
	}
	return id
}

// emit writes the track event in p.event, with the interned data it needs.
func (p *perfetto) emit(at sim.Time) {
	b := appendInt(p.begin(), packetTimestamp, uint64(at))
	if len(p.interned) > 0 {
		b = appendBytes(b, packetInterned, p.interned)
		p.interned = p.interned[:0]
	}
	p.packet = appendBytes(b, packetEvent, p.event)
	p.end()
}

// begin starts a packet with what every packet has.
func (p *perfetto) begin() []byte {
	flags := uint64(stateNeeded)
	if !p.started {
		flags |= stateCleared
		p.started = true
	}
	b := appendInt(p.packet[:0], packetSequence, sequence)
	return appendInt(b, packetFlags, flags)
}

// end writes the packet in p.packet.
func (p *perfetto) end() { p.out.buf = appendBytes(p.out.buf, tracePacket, p.packet); p.out.spill() }

func (p *perfetto) close() error { return p.out.close() }

func appendInt(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

func appendText(b []byte, field protowire.Number, v string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), v)
}

// output gathers bytes and remembers the first error.
type output struct {
	w   io.Writer
	buf []byte
	err error
}

// spill writes what was gathered if it is enough to be worth it.
func (o *output) spill() {
	if len(o.buf) >= 1<<16 {
		o.flush()
	}
}

func (o *output) flush() {
	if o.err == nil {
		_, o.err = o.w.Write(o.buf)
	}
	o.buf = o.buf[:0]
}

func (o *output) close() error {
	o.flush()
	return o.err
}
