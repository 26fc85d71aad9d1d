package rows

import (
	"io"

	"github.com/parquet-go/parquet-go"

	"orrery/cluster"
	"orrery/sim"
)

// rowGroup is the number of rows that a Parquet writer holds in memory. Fewer would
// cost compression and the speed of readers.
const rowGroup = 200_000

// batchRows is the number of rows handed over at a time.
const batchRows = 512

// pq writes Parquet. Rows are gathered in fixed arrays, the optional figures beside
// them, so that nothing is allocated for a row.
type pq struct {
	w       *parquet.GenericWriter[Row]
	n       int
	rows    [batchRows]Row
	figures [batchRows][4]float64
}

func newParquet(w io.Writer) *pq {
	return &pq{w: parquet.NewGenericWriter[Row](w, parquet.Compression(&parquet.Zstd), parquet.MaxRowsPerRowGroup(rowGroup))}
}

func (p *pq) row(s *cluster.Served, replica int32, status, reason string, ended sim.Time) error {
	d := delaysOf(s, status == "finished")
	figures := &p.figures[p.n]
	optional := func(i int, t sim.Time) *float64 {
		if t == never {
			return nil
		}
		figures[i] = t.Seconds()
		return &figures[i]
	}
	p.rows[p.n] = Row{
		RequestID: s.ID, Replica: replica, Tenant: s.Tenant, Session: s.Session, Turn: s.Turn, Status: status, Reason: reason,
		Arrived: s.Arrived.Seconds(), Ended: ended.Seconds(),
		SchedulingDelay: optional(0, d.scheduling), TTFT: optional(1, d.ttft), TPOT: optional(2, d.tpot), E2E: optional(3, d.e2e),
		Prompt: s.Prompt, Output: s.Output, Emitted: s.Emitted, Cached: s.Cached, Recomputed: s.Recomputed,
		Preemptions: s.Preemptions, LateGaps: s.LateGaps,
	}
	p.n++
	if p.n == batchRows {
		return p.flush()
	}
	return nil
}

func (p *pq) flush() error {
	_, err := p.w.Write(p.rows[:p.n])
	p.n = 0
	return err
}

func (p *pq) close() error {
	err := p.flush()
	if e := p.w.Close(); err == nil {
		err = e
	}
	return err
}
