package rows

import (
	"io"
	"strconv"
	"strings"

	"orrery/cluster"
	"orrery/sim"
)

const csvHeader = "request_id,replica,tenant,session,turn,status,reason,arrived_s,ended_s,scheduling_delay_s,ttft_s,tpot_s,e2e_s," +
	"prompt_tokens,output_tokens,emitted_tokens,cached_tokens,recomputed_tokens,preemptions,late_gaps\n"

// commas writes lines. Formatting by hand keeps all digits of a nanosecond and
// allocates nothing.
type commas struct {
	w   io.Writer
	buf []byte
}

// flushAt is how many bytes are gathered before they are written.
const flushAt = 1 << 16

func newCSV(w io.Writer) *commas {
	return &commas{w: w, buf: append(make([]byte, 0, flushAt+1024), csvHeader...)}
}

func (c *commas) row(s *cluster.Served, replica int32, status, reason string, ended sim.Time) error {
	d := delaysOf(s, status == "finished")
	b := c.buf
	for _, n := range [...]int64{s.ID, int64(replica), int64(s.Tenant), s.Session, int64(s.Turn)} {
		b = append(strconv.AppendInt(b, n, 10), ',')
	}
	b = append(append(b, status...), ',')
	b = append(appendField(b, reason), ',')
	for _, t := range [...]sim.Time{s.Arrived, ended, d.scheduling, d.ttft, d.tpot, d.e2e} {
		b = append(appendSeconds(b, t), ',')
	}
	for i, n := range [...]int32{s.Prompt, s.Output, s.Emitted, s.Cached, s.Recomputed, s.Preemptions, s.LateGaps} {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(n), 10)
	}
	c.buf = append(b, '\n')
	if len(c.buf) >= flushAt {
		return c.close()
	}
	return nil
}

func (c *commas) close() error {
	_, err := c.w.Write(c.buf)
	c.buf = c.buf[:0]
	return err
}

// appendSeconds appends a time in seconds with nine decimals, and nothing for never.
func appendSeconds(b []byte, t sim.Time) []byte {
	if t == never {
		return b
	}
	b = strconv.AppendInt(b, int64(t/1e9), 10)
	ns := int64(t % 1e9)
	b = append(b, '.')
	for unit := int64(1e8); unit > 0; unit /= 10 {
		b = append(b, byte('0'+ns/unit%10))
	}
	return b
}

// appendField appends text, quoted if it must be.
func appendField(b []byte, s string) []byte {
	if !strings.ContainsAny(s, ",\"\r\n") {
		return append(b, s...)
	}
	return append(append(append(b, '"'), strings.ReplaceAll(s, `"`, `""`)...), '"')
}
