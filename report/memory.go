package report

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"orrery/report/chart"
	"orrery/workloads/diffusion"
)

// Memory is what a pipeline of image or video diffusion holds on a GPU, and on which
// boards it runs. See [diffusion.MemoryRun] for how its four figures differ.
type Memory struct {
	Pipeline string        `json:"pipeline"`
	Setting  string        `json:"setting"` // size, frames, batch and so on, in words
	Weights  int64         `json:"weights_bytes"`
	Stages   []MemoryStage `json:"stages"`
	Peak     MemoryStage   `json:"peak"`
	Outside  int64         `json:"outside_bytes"`
	Device   int64         `json:"device_bytes"`
	Smallest int64         `json:"smallest_card_bytes"`
	Boards   []MemoryBoard `json:"boards"`
	Series   MemorySeries  `json:"series"`
}

// MemoryStage is the peaks of a stage, each with the operator that holds it.
type MemoryStage struct {
	Name      string     `json:"name"`
	Calls     int        `json:"calls"`
	Traced    int        `json:"traced_calls"`
	First     int        `json:"first_operator"`
	Live      MemoryPeak `json:"live"`
	Allocated MemoryPeak `json:"allocated"`
	Reserved  MemoryPeak `json:"reserved"`
}

// MemoryPeak is a peak and where it stands.
type MemoryPeak struct {
	Bytes    int64  `json:"bytes"`
	Stage    string `json:"stage"`
	Operator string `json:"operator"`
}

// MemoryBoard is how the pipeline goes on one board.
type MemoryBoard struct {
	Name    string `json:"name"`
	Memory  int64  `json:"memory_bytes"`
	Answer  string `json:"answer"`
	Held    int64  `json:"held_bytes,omitempty"`        // reserved and outside, where it runs
	Freed   int    `json:"cache_freed,omitempty"`       // times at which cached blocks were given back
	Smaller int    `json:"without_workspace,omitempty"` // convolutions that had no room for a workspace
	Limit   int64  `json:"limit_bytes,omitempty"`       // to which the allocator has to be limited
	Why     string `json:"why,omitempty"`               // it does not run
	Instead string `json:"nearest_setting_that_runs,omitempty"`
}

// MemorySeries is memory over operators, in bytes.
type MemorySeries struct {
	Operator  []int   `json:"operator"`
	Live      []int64 `json:"live"`
	Allocated []int64 `json:"allocated"`
	Reserved  []int64 `json:"reserved"`
}

// NewMemory reports a run that had no limit.
func NewMemory(pipeline, setting string, run *diffusion.MemoryRun, smallest int64, boards []diffusion.Board) *Memory {
	m := &Memory{
		Pipeline: pipeline, Setting: setting, Weights: run.Weights, Outside: run.Outside, Device: run.Device(),
		Smallest: smallest, Peak: memoryStage("peak", &run.Peak),
	}
	for i := range run.Stages {
		s := memoryStage(run.Stages[i].Name, &run.Stages[i].Peak)
		s.Calls, s.Traced, s.First = run.Stages[i].Times, run.Stages[i].Traced, run.Stages[i].First
		m.Stages = append(m.Stages, s)
	}
	for i := range boards {
		m.Boards = append(m.Boards, memoryBoard(&boards[i]))
	}
	for _, p := range run.Points {
		m.Series.Operator = append(m.Series.Operator, p.Op)
		m.Series.Live = append(m.Series.Live, p.Live)
		m.Series.Allocated = append(m.Series.Allocated, p.Allocated)
		m.Series.Reserved = append(m.Series.Reserved, p.Reserved)
	}
	return m
}

func memoryStage(name string, p *diffusion.MemoryPeaks) MemoryStage {
	return MemoryStage{Name: name, Live: MemoryPeak(p.Live), Allocated: MemoryPeak(p.Allocated), Reserved: MemoryPeak(p.Reserved)}
}

func memoryBoard(b *diffusion.Board) MemoryBoard {
	m := MemoryBoard{Name: b.Name, Memory: b.Memory, Answer: b.Fit.String(), Instead: b.Instead}
	if b.Run != nil {
		m.Held, m.Freed, m.Smaller, m.Limit = b.Run.Device(), b.Run.Retries, b.Run.Smaller, b.Run.Limit
	}
	if b.Err != nil {
		m.Why = b.Err.Error()
	}
	return m
}

// Text returns the report as it is read on a screen.
func (m *Memory) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s · %s\n\n", m.Pipeline, m.Setting)
	m.stageTable(&b)
	fmt.Fprintf(&b, "\nweights %s; outside the allocator %s\n", gib(m.Weights), gib(m.Outside))
	fmt.Fprintf(&b, "device peak %s, as the driver reports it on a card with room for all that is cached\n", gib(m.Device))
	fmt.Fprintf(&b, "smallest card that completes %s\n\n", gib(m.Smallest))
	m.boardTable(&b)
	return b.String()
}

func (m *Memory) stageTable(b *strings.Builder) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "stage\tcalls\tlive\tallocated\treserved\toperator at the peaks")
	for _, s := range m.byName() {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", s.Name, s.Calls, gib(s.Live.Bytes), gib(s.Allocated.Bytes), gib(s.Reserved.Bytes), s.holders(false))
	}
	p := &m.Peak
	fmt.Fprintf(w, "peak\t\t%s\t%s\t%s\t%s\n", gib(p.Live.Bytes), gib(p.Allocated.Bytes), gib(p.Reserved.Bytes), p.holders(true))
	w.Flush()
}

// byName joins the stages of one name, as where full steps and shorter ones take turns.
func (m *Memory) byName() []*MemoryStage {
	var joined []*MemoryStage
	at := map[string]*MemoryStage{}
	for _, s := range m.Stages {
		t := at[s.Name]
		if t == nil {
			at[s.Name] = &s
			joined = append(joined, &s)
			continue
		}
		t.Calls += s.Calls
		t.Traced += s.Traced
		t.Live, t.Allocated, t.Reserved = t.Live.or(s.Live), t.Allocated.or(s.Allocated), t.Reserved.or(s.Reserved)
	}
	return joined
}

// or returns the larger peak, the first of equal ones.
func (p MemoryPeak) or(q MemoryPeak) MemoryPeak {
	if q.Bytes > p.Bytes {
		return q
	}
	return p
}

// holders names the operators that hold the peaks of a stage, once where they are one.
func (s *MemoryStage) holders(stages bool) string {
	name := func(p *MemoryPeak) string {
		if stages {
			return p.Stage + ": " + p.Operator
		}
		return p.Operator
	}
	live, reserved := name(&s.Live), name(&s.Reserved)
	if live == reserved {
		return live
	}
	return live + " (live), " + reserved + " (reserved)"
}

func (m *Memory) boardTable(b *strings.Builder) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "board\tmemory\theld\t")
	for i := range m.Boards {
		d := &m.Boards[i]
		held := "-"
		if d.Held > 0 {
			held = gib(d.Held)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", d.Name, gib(d.Memory), held, d.words())
	}
	w.Flush()
}

// words says how it goes on a board.
func (d *MemoryBoard) words() string {
	s := d.Answer
	if d.Freed > 0 {
		s += fmt.Sprintf(", %s", counted(d.Freed, "time"))
	}
	if d.Smaller > 0 {
		s += fmt.Sprintf(", with %s without workspace", counted(d.Smaller, "convolution"))
	}
	if d.Limit > 0 {
		s += fmt.Sprintf(", if the allocator is limited to %s", gib(d.Limit))
	}
	if d.Why != "" {
		s += ": " + d.Why
	}
	switch {
	case d.Instead != "":
		s += "; would run with " + d.Instead
	case d.Why != "":
		s += "; nor with less of everything"
	}
	return s
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func gib(bytes int64) string { return fmt.Sprintf("%.2f GiB", float64(bytes)/(1<<30)) }

// Plots returns memory over the whole run, and over the stage that holds the peak of
// what is reserved. Only boards whose size is near the peak have a line.
func (m *Memory) Plots() []Plot {
	last := 0
	if n := len(m.Series.Operator); n > 0 {
		last = m.Series.Operator[n-1] + 1
	}
	plots := []Plot{{"memory", m.plot("Memory over the run", 0, last)}}
	for i := range m.Stages {
		if s := &m.Stages[i]; s.Name == m.Peak.Reserved.Stage && len(m.Stages) > 1 {
			end := last
			if i+1 < len(m.Stages) {
				end = m.Stages[i+1].First
			}
			plots = append(plots, Plot{"memory-peak", m.plot("Memory in the stage that holds the peak: "+s.Name, s.First, end)})
			break
		}
	}
	return plots
}

// plot draws the operators from first to before end.
func (m *Memory) plot(title string, first, end int) chart.Lines {
	c := chart.Lines{
		Title: title, Width: 960,
		Subtitle: m.Pipeline + ", " + m.Setting + "; boards by what they leave to the allocator",
		X:        chart.Axis{Label: "operators in the order in which they run", Min: float64(first), Max: float64(end)},
		Y:        chart.Axis{Label: "GiB"},
	}
	lines := []struct {
		name  string
		bytes []int64
	}{{"reserved", m.Series.Reserved}, {"allocated", m.Series.Allocated}, {"live", m.Series.Live}}
	for _, l := range lines {
		s := chart.Series{Name: l.name}
		for i, op := range m.Series.Operator {
			if op >= first && op < end {
				s.X, s.Y = append(s.X, float64(op)), append(s.Y, float64(l.bytes[i])/(1<<30))
			}
		}
		c.Series = append(c.Series, s)
	}
	last := ""
	for _, s := range m.byName() {
		if label := s.mark(); label != last && s.First >= first && s.First < end {
			c.XMarks = append(c.XMarks, chart.Mark{Value: float64(s.First), Label: label})
			last = label
		}
	}
	c.YMarks = m.cards(3)
	return c
}

// mark names the stage where it begins: encoders, which take little room, by that word
// alone, and repeated ones with how many calls are drawn.
func (s *MemoryStage) mark() string {
	name, _, encoder := strings.Cut(s.Name, " ")
	switch {
	case encoder && name == "encode":
		return name
	case s.Traced < s.Calls:
		return fmt.Sprintf("%s, %d of %d calls", s.Name, s.Traced, s.Calls)
	}
	return s.Name
}

// cards returns lines at what at most n boards leave to the allocator, of those that leave
// at most 1.3 of the reserved peak: the largest first, and no two within a tenth of each
// other, so that their names can be read.
func (m *Memory) cards(n int) []chart.Mark {
	var marks []chart.Mark
	most := 1.3 * float64(m.Peak.Reserved.Bytes)
	for len(marks) < n {
		best, room := "", 0.0
		for i := range m.Boards {
			if r := float64(m.Boards[i].Memory - m.Outside); r > room && r <= most {
				best, room = m.Boards[i].Name, r
			}
		}
		if best == "" {
			break
		}
		marks = append(marks, chart.Mark{Value: room / (1 << 30), Label: best})
		most = 0.9 * room
	}
	return marks
}
