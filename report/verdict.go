package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// width is the number of columns of a verdict.
const width = 80

// Verdict returns the result on one screen: what was run, what was measured, and
// one sentence that says whether the SLO holds and what limits it.
func (r *Result) Verdict() string {
	v := &screen{}
	v.line("", "%s", strings.TrimSpace(r.Scenario+"   seed "+strconv.FormatUint(r.Seed, 10)+"   run "+r.RunID))
	if r.Partial {
		v.line("", "PARTIAL: stopped before its end; the figures cover what had happened by then")
	}
	if r.Model == "" {
		v.line("devices", "%s", r.Device)
	} else {
		v.line("model", "%s on %s", r.Model, r.Device)
	}
	v.line("policy", "%s", r.Policy)
	if r.Traffic != "" {
		v.line("traffic", "%s", r.Traffic)
	}
	how := "simulated"
	if r.Measurement != nil {
		how = "on the wall clock"
	}
	v.line("run", "%s %s, measured from %s", seconds(Number(r.EndS)), how, seconds(Number(r.WarmUpS)))
	failed := ""
	if r.Requests.Failed > 0 {
		failed = count(r.Requests.Failed) + " failed, "
	}
	v.line("requests", "%s arrived, %s finished, %s rejected, %s%s unfinished", count(r.Requests.Arrived), count(r.Requests.Finished), count(r.Requests.Rejected), failed, count(r.Requests.Unfinished))
	for _, x := range r.Requests.RejectedBy {
		v.line("", "  %s rejected: %s", count(x.Count), x.Reason)
	}
	for _, x := range r.Requests.FailedBy {
		v.line("", "  %s failed: %s", count(x.Count), x.Reason)
	}
	t := &r.Throughput
	if r.Images() {
		v.line("rates", "%s img/s in, %s img/s out, %s steps/s", figure(t.ArrivedPerS), figure(t.RequestsPerS), figure(t.OutputTokensPerS))
	} else {
		v.line("rates", "%s req/s in, %s req/s out, %s output tok/s, %s tok/s in all", figure(t.ArrivedPerS), figure(t.RequestsPerS), figure(t.OutputTokensPerS), figure(t.TotalTokensPerS))
	}
	v.classes(r)
	v.tiers(r)
	v.blank()
	v.latencies(r)
	v.blank()
	v.slo(r)
	if r.Measurement != nil {
		v.measured(r)
	} else {
		v.inside(r)
		v.cost(r)
	}
	v.blank()
	v.wrap("", r.Limit.Sentence)
	v.remarks("! ", r.Flags)
	v.remarks("- ", r.Notes)
	return v.b.String()
}

// inside adds what a simulation knows of its replicas.
func (v *screen) inside(r *Result) {
	l, i := &r.Load, &r.Iterations
	if r.Images() {
		v.line("memory", "images: mean %s, peak %s of what the models leave", percent(l.KVMeanShare), percent(l.KVPeakShare))
		v.line("GPU", "busy %s; batch %s images, %s in one go", percent(l.BusyShare), figure(i.DecodesMean), seconds(i.LengthMeanS))
		v.line("queue", "mean %s; running mean %s", figure(l.WaitingMean), figure(l.RunningMean))
		return
	}
	kv := fmt.Sprintf("mean %s, peak %s; %s", percent(l.KVMeanShare), percent(l.KVPeakShare), plural(r.Requests.Preemptions, "pre-emption", "pre-emptions"))
	if r.Tokens.Recomputed > 0 {
		kv += fmt.Sprintf(" (%s tokens again)", count(r.Tokens.Recomputed))
	}
	if r.Tokens.Cached > 0 {
		kv += fmt.Sprintf("; prefix hits %s", percent(ratio(float64(r.Tokens.Cached), float64(r.Tokens.Prompt))))
		if r.Tokens.Loaded > 0 {
			kv += fmt.Sprintf(" (%s tokens from the host)", count(r.Tokens.Loaded))
		}
	}
	v.line("KV", "%s", kv)
	if n := r.Requests.AdapterLoads; n > 0 {
		v.line("LoRA", "%s", plural(n, "adapter loaded", "adapters loaded"))
	}
	gpu := "busy " + percent(l.BusyShare)
	if r.pipelined() {
		gpu += ", bubbles " + percent(l.BubbleShare)
	}
	v.line("GPU", "%s; iteration %s, %s sequences, %s tokens", gpu, seconds(i.LengthMeanS), figure(i.BatchMean), figure(i.TokensMean))
	v.line("queue", "mean %s, peak %s; running mean %s", figure(l.WaitingMean), count(l.WaitingPeak), figure(l.RunningMean))
}

// maxRemarks keeps the verdict on one screen.
const maxRemarks = 4

// screen is a text of lines no wider than the screen.
type screen struct{ b strings.Builder }

// line adds a labelled line; what does not fit goes on below, indented.
func (v *screen) line(label, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if label != "" {
		text = fmt.Sprintf("%-9s%s", label, text)
	}
	v.fold(text, strings.Repeat(" ", 9))
}

func (v *screen) blank() { v.b.WriteByte('\n') }

// wrap adds running text behind a mark.
func (v *screen) wrap(mark, text string) { v.fold(mark+text, strings.Repeat(" ", len(mark))) }

// remarks adds texts that result.json has in full, two lines each at most.
func (v *screen) remarks(mark string, texts []string) {
	for i, text := range texts {
		if i == maxRemarks {
			v.wrap(mark, fmt.Sprintf("%d more in %s", len(texts)-i, ResultFile))
			return
		}
		if r := []rune(text); len(r) > 2*width-10 {
			text = string(r[:2*width-13]) + "..."
		}
		v.wrap(mark, text)
	}
}

// fold breaks a line at spaces.
func (v *screen) fold(text, indent string) {
	for len([]rune(text)) > width {
		runes := []rune(text)
		cut := width
		for cut > len(indent) && runes[cut] != ' ' {
			cut--
		}
		if cut <= len(indent) {
			break // a word wider than the screen
		}
		v.b.WriteString(strings.TrimRight(string(runes[:cut]), " "))
		v.blank()
		text = indent + strings.TrimLeft(string(runes[cut:]), " ")
	}
	v.b.WriteString(strings.TrimRight(text, " "))
	v.blank()
}

func (v *screen) latencies(r *Result) {
	row := func(cells ...string) {
		fmt.Fprintf(&v.b, "%-17s", cells[0])
		for _, c := range cells[1:] {
			fmt.Fprintf(&v.b, "%11s", c)
		}
		v.blank()
	}
	row("", "p50", "p90", "p99", "mean", "max")
	cut := false
	for _, x := range []struct {
		name string
		d    *Delay
	}{
		{"TTFT", &r.Latency.TTFT}, {"TBT", &r.Latency.TBT}, {"TPOT", &r.Latency.TPOT},
		{"E2E", &r.Latency.E2E}, {"scheduling delay", &r.Latency.SchedulingDelay},
	} {
		if x.name == "scheduling delay" && r.Measurement != nil {
			continue
		}
		if x.name[0] == 'T' && r.Images() {
			continue // an image appears at once
		}
		row(x.name, seconds(x.d.P50S), seconds(x.d.P90S), seconds(x.d.P99S), seconds(x.d.MeanS), seconds(x.d.MaxS))
		// TBT covers all tokens that appeared; the rest would leave out the slow.
		if x.name == "TTFT" || x.name == "E2E" || x.name == "scheduling delay" {
			u := &x.d.WithUnfinished
			if u.Count > x.d.Count {
				cut = true
				row("  +unfinished", least(u.P50S), least(u.P90S), least(u.P99S), least(u.MeanS), least(u.MaxS))
			}
		}
	}
	if cut {
		v.line("", "(+unfinished: with requests cut by the end, which count with their wait so far)")
	}
}

// least marks a lower bound.
func least(n Number) string {
	if !n.Exists() {
		return seconds(n)
	}
	return ">=" + seconds(n)
}

func (v *screen) slo(r *Result) {
	if r.SLO == nil {
		return
	}
	for i := range r.SLO.Bounds {
		b := &r.SLO.Bounds[i]
		label, verdict := "", "MISSED"
		if i == 0 {
			label = "SLO"
		}
		if b.Held {
			verdict = "held"
		}
		v.line("", "%-9s%-24s %10s of %-10s %s", label, b.label(), seconds(b.judged()), seconds(Number(b.LimitS)), verdict)
	}
	if r.SLO.GoodputPerS.Exists() {
		v.line("goodput", "%s req/s: %s of the requests met the SLO", figure(r.SLO.GoodputPerS), percent(r.SLO.GoodShare))
	}
}

// seconds writes a duration with three digits and a unit that suits it.
func seconds(n Number) string {
	x := math.Abs(float64(n))
	switch {
	case !n.Exists():
		return "-"
	case x == 0:
		return "0 s"
	case x < 0.9995e-6:
		return digits(float64(n)*1e9) + " ns"
	case x < 0.9995e-3:
		return digits(float64(n)*1e6) + " us"
	case x < 0.9995:
		return digits(float64(n)*1e3) + " ms"
	}
	return digits(float64(n)) + " s"
}

// figure writes a plain number with three digits, and - if there is none.
func figure(n Number) string {
	if !n.Exists() {
		return "-"
	}
	return digits(float64(n))
}

// digits writes three significant digits, two below one, and all digits of thousands,
// with commas and without an exponent.
func digits(x float64) string {
	a := math.Abs(x)
	switch {
	case a == 0:
		return "0"
	case a >= 99.95:
		return count(int64(math.Round(x)))
	case a >= 9.995:
		return strconv.FormatFloat(x, 'f', 1, 64)
	case a >= 0.9995:
		return strconv.FormatFloat(x, 'f', 2, 64)
	}
	decimals := 1 - int(math.Floor(math.Log10(a)))
	if decimals > 9 {
		return "0"
	}
	return strconv.FormatFloat(x, 'f', decimals, 64)
}

// percent writes a share.
func percent(n Number) string {
	if !n.Exists() {
		return "-"
	}
	x := 100 * float64(n)
	if x != 0 && math.Abs(x) < 9.95 || x > 99 && x < 99.95 {
		return strconv.FormatFloat(x, 'f', 1, 64) + " %"
	}
	return strconv.FormatFloat(x, 'f', 0, 64) + " %"
}

// count writes an integer with commas between thousands.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural writes a number with the right form of a noun.
func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}
