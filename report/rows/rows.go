// Package rows writes one row per request to a CSV or Parquet file while a run goes
// on, so that memory does not grow with the number of requests. A row is written
// when its request ends: finished, rejected, or unfinished at the end of the run.
//
// Both formats have the same columns, with units in their names; times are seconds
// since the start of the run. What did not happen is empty in CSV and null in
// Parquet. CSV has all nine digits of a nanosecond; float64 has them for runs up to
// a hundred days.
package rows

import (
	"fmt"
	"io"
	"path/filepath"

	"orrery/cluster"
	"orrery/internal/whole"
	"orrery/sim"
)

// Row is one request. Pointers are nil for what did not happen.
type Row struct {
	RequestID       int64    `parquet:"request_id,delta"`
	Replica         int32    `parquet:"replica"` // -1 if it was never routed
	Tenant          int32    `parquet:"tenant"`
	Session         int64    `parquet:"session"`
	Turn            int32    `parquet:"turn"`
	Status          string   `parquet:"status,dict"` // finished, rejected or unfinished
	Reason          string   `parquet:"reason,dict"` // of a rejection
	Arrived         float64  `parquet:"arrived_s"`
	Ended           float64  `parquet:"ended_s"` // last token, rejection, or the end of the run
	SchedulingDelay *float64 `parquet:"scheduling_delay_s,optional"`
	TTFT            *float64 `parquet:"ttft_s,optional"`
	TPOT            *float64 `parquet:"tpot_s,optional"` // mean gap between tokens
	E2E             *float64 `parquet:"e2e_s,optional"`
	Prompt          int32    `parquet:"prompt_tokens"`
	Output          int32    `parquet:"output_tokens"` // asked for
	Emitted         int32    `parquet:"emitted_tokens"`
	Cached          int32    `parquet:"cached_tokens"`
	Recomputed      int32    `parquet:"recomputed_tokens"`
	Preemptions     int32    `parquet:"preemptions"`
	LateGaps        int32    `parquet:"late_gaps"`
}

// never marks a delay that did not come about.
const never = cluster.Never

// delays of a request in nanoseconds, never if there is none.
type delays struct{ scheduling, ttft, tpot, e2e sim.Time }

func delaysOf(s *cluster.Served, finished bool) delays {
	since := func(t sim.Time) sim.Time {
		if t == never {
			return never
		}
		return t - s.Arrived
	}
	d := delays{since(s.Scheduled), since(s.First), never, never}
	if finished {
		d.e2e = since(s.Last)
	}
	if s.First != never && s.Emitted > 1 {
		d.tpot = (s.Last - s.First) / sim.Time(s.Emitted-1)
	}
	return d
}

// encoder writes rows in one format.
type encoder interface {
	row(s *cluster.Served, replica int32, status, reason string, ended sim.Time) error
	close() error
}

// Writer is a [cluster.Recorder] that writes rows. The first error stops it and is
// returned by [Writer.Close].
type Writer struct {
	enc  encoder
	err  error
	rows int64
}

// NewCSV returns a writer of CSV, with a header line.
func NewCSV(w io.Writer) *Writer { return &Writer{enc: newCSV(w)} }

// NewParquet returns a writer of Parquet, compressed with zstd.
func NewParquet(w io.Writer) *Writer { return &Writer{enc: newParquet(w)} }

// Record writes a row if r ends a request.
func (w *Writer) Record(r *cluster.Record) {
	var status string
	switch r.What {
	case cluster.Finished:
		status = "finished"
	case cluster.Rejected:
		status = "rejected"
	case cluster.Unfinished:
		status = "unfinished"
	default:
		return
	}
	if w.err == nil {
		w.err = w.enc.row(r.Request, r.Replica, status, r.Reason, r.At)
		w.rows++
	}
}

// Rows returns the number of rows written.
func (w *Writer) Rows() int64 { return w.rows }

// Close completes the output and returns the first error of all.
func (w *Writer) Close() error {
	if err := w.enc.close(); w.err == nil {
		w.err = err
	}
	return w.err
}

// File is a [Writer] whose file appears at its path when it is committed.
type File struct {
	*Writer
	file *whole.File
}

// Create begins a file whose format is that of the extension of path, .csv or
// .parquet.
func Create(path string) (*File, error) {
	var format func(io.Writer) *Writer
	switch ext := filepath.Ext(path); ext {
	case ".csv":
		format = NewCSV
	case ".parquet":
		format = NewParquet
	default:
		return nil, whole.Error(path, fmt.Errorf("requests are written as .csv or .parquet, not as %q", ext))
	}
	f, err := whole.Create(path)
	if err != nil {
		return nil, err
	}
	return &File{format(f), f}, nil
}

// Commit completes the file and puts it in its place, or returns what went wrong,
// in which case no file appears.
func (f *File) Commit() error {
	if err := f.Close(); err != nil {
		f.file.Abort()
		return err
	}
	return f.file.Commit()
}

// Abort gives the file up.
func (f *File) Abort() { f.file.Abort() }
