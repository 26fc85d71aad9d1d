package calibrate

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"orrery/hwmodel"
	"orrery/workloads/diffusion"
)

// DiffusionRow is a measured run of a diffusion pipeline.
type DiffusionRow struct {
	ID, Source string
	Framework  string
	Device     string // as profiles name it
	Model      string // as the source names it
	Job        *diffusion.Job
	Loop       bool    // seconds are of the denoising steps alone
	Seconds    float64 // of the whole batch
	Memory     float64 // 10^9 bytes or GiB, as the file says; 0 if it does not
}

// diffusionBoards are the boards of the files, where they say which one it was.
var diffusionBoards = map[string]string{
	"A100-SXM4-40GB": "a100-sxm-40gb", "H100-SXM-80GB": "h100-sxm-80gb",
	"NVIDIA A100-SXM4-40GB": "a100-sxm-40gb", "NVIDIA A100 80GB PCIe": "a100-pcie-80gb", "NVIDIA A100-PCIE-40GB": "a100-pcie-40gb",
	"NVIDIA H100 PCIe": "h100-pcie-80gb", "NVIDIA RTX A6000": "a6000-48gb", "Tesla V100-SXM2-16GB": "v100-sxm-16gb",
	"V100": "v100-sxm-16gb", "T4": "t4-16gb", "RTX 3090": "rtx-3090-24gb", "RTX 4090": "rtx-4090-24gb", "A100 (SKU not stated)": "a100-sxm-40gb",
}

// diffusionModels are the pipelines of the files' models; others are passed over.
var diffusionModels = map[string]string{
	"SD1.4": "sd14", "SD1.5": "sd15", "SD1.5 (Openjourney v4)": "sd15", "SD2.1": "sd21", "SDXL": "sdxl", "SSD-1B": "ssd-1b",
	"SD3-medium": "sd3-medium", "AnimateDiff-v3": "animatediff-v3", "SVD": "svd", "SVD-XT": "svd-xt",
}

// diffusionFiles are the files of measured runs with the framework that they ran in.
var diffusionFiles = []struct {
	file      string
	framework func(software string) string
}{
	{"ml_energy_v2.csv", func(string) string { return "diffusers" }},
	{"sd_lambda.csv", func(string) string { return "diffusers-2022" }},
	{"diffusers_torch2.csv", func(software string) string {
		switch {
		case strings.HasSuffix(software, "nightly 2023-05 + torch.compile"):
			return "diffusers-compiled"
		case strings.HasSuffix(software, "nightly 2023-05"):
			return "diffusers-2023"
		}
		return "" // the first compilers and kernels of torch 2.0 are no longer in use
	}},
}

// diffusionColumns are those that are read.
var diffusionColumns = []string{"row_id", "gpu", "model", "resolution", "frames", "batch", "steps", "cfg_passes", "dtype", "attention", "software", "scope", "variant", "latency_s", "it_per_s", "peak_mem_GB", "source_id"}

// ReadDiffusion reads the measured runs under the folder of measurements that a framework
// and a profile stand for.
func ReadDiffusion(data string) ([]DiffusionRow, error) {
	var out []DiffusionRow
	for _, f := range diffusionFiles {
		err := ReadTable(filepath.Join(data, "diffusion", f.file), diffusionColumns, func(t *Table) error {
			r, err := diffusionRow(t, f.framework(t.Text("software")))
			if err != nil || r == nil {
				return err
			}
			out = append(out, *r)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	community, err := communityRuns(data)
	return append(out, community...), err
}

// communityBoards are the boards of the community's file of which enough runs are there.
var communityBoards = map[string]string{
	"A100 80GB PCIe 79GB": "a100-pcie-80gb", "A100-SXM4-80GB 79GB": "a100-sxm-80gb", "A100-SXM4-40GB 39GB": "a100-sxm-40gb",
	"RTX 2080 Ti 11GB": "rtx-2080-ti-11gb", "RTX 2080 Ti 22GB": "rtx-2080-ti-11gb", "RTX 3090 24GB": "rtx-3090-24gb", "RTX 3090 Ti 24GB": "rtx-3090-ti-24gb",
	"RTX 4090 24GB": "rtx-4090-24gb", "Tesla T4 15GB": "t4-16gb",
}

// communityRuns returns the median of what users of a web interface measured, for each
// board and batch: of Stable Diffusion 1.x in 16 bits, well tuned, which is on Linux
// with fused attention. Their figure is steps times batch over the time of the call.
func communityRuns(data string) ([]DiffusionRow, error) {
	type cell struct {
		board string
		batch int
	}
	cells := map[cell][]float64{}
	err := ReadTable(filepath.Join(data, "diffusion", "webui_community.csv"), diffusionColumns, func(t *Table) error {
		board, rate := communityBoards[t.Text("gpu")], figure(t.Text("it_per_s"))
		attention := strings.ToLower(t.Text("attention"))
		fused := strings.HasPrefix(attention, "xformers") || strings.HasPrefix(attention, "sdp") || strings.HasPrefix(attention, "scaled")
		if board == "" || rate <= 0 || !fused || t.Text("dtype") != "fp16" || !strings.Contains(t.Text("software"), "Linux") || !strings.HasPrefix(t.Text("model"), "SD1.x") {
			return nil
		}
		c := cell{board, int(t.Number("batch"))}
		cells[c] = append(cells[c], rate*t.Number("batch"))
		return nil
	})
	if err != nil {
		return nil, err
	}
	p, err := diffusion.LoadPipeline("sd15")
	if err != nil {
		return nil, err
	}
	var out []DiffusionRow
	for c, rates := range cells {
		if len(rates) < 3 {
			continue
		}
		slices.Sort(rates)
		j := p.Job()
		j.Batch, j.Steps = c.batch, 20
		out = append(out, DiffusionRow{
			ID: fmt.Sprintf("median of %d", len(rates)), Source: "vladmandic-2023 and -2025, medians of well-tuned runs", Framework: "webui", Device: c.board, Model: "SD1.x", Job: j,
			Seconds: float64(j.Steps*j.Batch) / (rates[(len(rates)-1)/2]/2 + rates[len(rates)/2]/2),
		})
	}
	slices.SortFunc(out, func(a, b DiffusionRow) int {
		return cmp.Or(cmp.Compare(a.Device, b.Device), cmp.Compare(a.Job.Batch, b.Job.Batch))
	})
	return out, nil
}

// diffusionRow returns the run that a row describes, nil if it is none of those that are priced.
func diffusionRow(t *Table, framework string) (*DiffusionRow, error) {
	pipeline, board := diffusionModels[t.Text("model")], diffusionBoards[t.Text("gpu")]
	if framework == "" || pipeline == "" || board == "" || t.Text("variant") != "" {
		return nil, nil
	}
	return newDiffusionRow(t, pipeline, board, framework)
}

// newDiffusionRow returns the run that a row describes, of a pipeline on a board by a framework;
// nil if it has no time.
func newDiffusionRow(t *Table, pipeline, board, framework string) (*DiffusionRow, error) {
	p, err := diffusion.LoadPipeline(pipeline)
	if err != nil {
		return nil, err
	}
	j := p.Job()
	size := t.Text("resolution")
	if w, h, ok := strings.Cut(size, "x"); ok {
		j.Width, _ = strconv.Atoi(w)
		j.Height, _ = strconv.Atoi(h)
	} else if _, to, ok := strings.Cut(size, "->"); ok { // super-resolution to a square
		j.Width, _ = strconv.Atoi(to)
		j.Height = j.Width
	}
	j.Batch = max(int(t.Number("batch")), 1)
	j.Steps = int(cmp.Or(figure(t.Text("steps")), 25)) // of loops timed by the step, any number does
	j.DType = cmp.Or(t.Text("dtype"), j.DType)
	j.Scores = strings.HasPrefix(t.Text("attention"), "math")
	if framework == "diffusers-2022" && j.Batch > 16 {
		j.DecodeAtOnce = 1 // the authors slice the autoencoder's batches there
	}
	if strings.HasPrefix(t.Text("model"), "SVD") {
		j.Frames = int(t.Number("frames"))
	}
	r := &DiffusionRow{
		ID: t.Text("row_id"), Source: t.Text("source_id"), Framework: framework, Device: board, Model: t.Text("model"), Job: j,
		Loop: strings.HasPrefix(t.Text("scope"), "denoising loop"), Seconds: figure(t.Text("latency_s")), Memory: figure(t.Text("peak_mem_GB")),
	}
	if r.Loop {
		r.Seconds = float64(j.Steps) / figure(t.Text("it_per_s"))
	}
	if !(r.Seconds > 0) || math.IsInf(r.Seconds, 0) {
		return nil, nil
	}
	return r, nil
}

// figure returns a number, 0 where there is none.
func figure(text string) float64 {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0
	}
	return v
}

// diffusionRun is a row with its kernels priced, for a fit.
type diffusionRun struct {
	row    *DiffusionRow
	stages []diffusionStage
}

type diffusionStage struct {
	work  *diffusion.Work
	times float64
}

// seconds returns the time of the run where the host takes kernel seconds a launch and
// fixed seconds beside, on a board.
func (r *diffusionRun) seconds(kernel, fixed float64, b *hwmodel.FrameworkBoard) float64 {
	sum := fixed * b.Host
	if r.row.Loop {
		sum = 0
	}
	for _, s := range r.stages {
		c := s.work.Cost(kernel, b)
		sum += s.times * c.Seconds
	}
	return sum
}

// priceRuns prices the kernels of rows.
func priceRuns(rows []DiffusionRow, profiles []*hwmodel.Profile, frameworks map[string]*hwmodel.Framework) ([]diffusionRun, error) {
	type key struct{ framework, device string }
	pricers := map[key]*diffusion.Pricer{}
	var out []diffusionRun
	for i := range rows {
		r := &rows[i]
		k := key{r.Framework, r.Device}
		q := pricers[k]
		if q == nil {
			n := slices.IndexFunc(profiles, func(p *hwmodel.Profile) bool { return p.Device.Name == r.Device })
			if n < 0 {
				continue
			}
			var err error
			if q, err = diffusion.NewPricer(profiles[n], frameworks[r.Framework]); err != nil {
				return nil, err
			}
			pricers[k] = q
		}
		stages, err := r.Job.Stages()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.ID, err)
		}
		run := diffusionRun{row: r}
		for _, s := range stages {
			if r.Loop && s.Phase != diffusion.Denoise {
				continue
			}
			w, err := q.Work(s.Graph, s.DType)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.ID, err)
			}
			run.stages = append(run.stages, diffusionStage{w, float64(s.Times)})
		}
		out = append(out, run)
	}
	return out, nil
}

// frameworks returns what is fitted, before it is: how each runs kernels.
func frameworks() []*hwmodel.Framework {
	return []*hwmodel.Framework{
		{Name: "diffusers", Layout: true, Note: "diffusers on PyTorch 2.1 to 2.4 of 2024, eager, scaled_dot_product_attention"},
		{Name: "diffusers-2023", Layout: true, Note: "diffusers 0.17 on a PyTorch nightly of May 2023, eager; denoising loops alone, so that a run's fixed time is not known"},
		{Name: "diffusers-2022", Layout: true, TF32: true, Note: "diffusers 0.11 on PyTorch 1.13 of late 2022 (NGC 22.11, where products in 32 bits take tensor cores), eager, xformers"},
		{Name: "diffusers-compiled", Fused: true, Layout: true, Note: "the same with torch.compile: element-wise neighbours in one kernel, fewer launches"},
		{Name: "webui", Layout: true, Note: "a well-tuned web interface (Linux, xformers or scaled_dot_product_attention) of 2023 to 2025"},
	}
}

// FitFrameworks fits what frameworks add to kernels to measured runs of whole pipelines: for
// each framework the host time of a launch and of a run, and for each board how much
// longer convolutions and kernels that move images take than by their own constants. Every model is predicted once from
// the other models of its board; those errors are what the boards state.
func FitFrameworks(data string, profiles []*hwmodel.Profile) ([]*hwmodel.Framework, error) {
	out := frameworks()
	byName := map[string]*hwmodel.Framework{}
	for _, f := range out {
		byName[f.Name] = f
	}
	rows, err := ReadDiffusion(data)
	if err != nil {
		return nil, err
	}
	runs, err := priceRuns(rows, profiles, byName)
	if err != nil {
		return nil, err
	}
	for _, f := range out {
		own := slices.DeleteFunc(slices.Clone(runs), func(r diffusionRun) bool { return r.row.Framework != f.Name })
		fitFramework(f, own)
	}
	archs := map[string]string{}
	for _, p := range profiles {
		archs[p.Device.Name] = p.Device.Arch
	}
	for _, f := range out {
		borrowBoards(f, out, archs)
	}
	return append(out, bare(out[0])), nil
}

// borrowBoards gives f what others were fitted to on boards of an architecture that f was never
// measured on: most of a board's factor is the board's.
func borrowBoards(f *hwmodel.Framework, from []*hwmodel.Framework, archs map[string]string) {
	own := slices.Clone(f.Boards)
	for _, g := range from {
		for _, b := range g.Boards {
			known := slices.ContainsFunc(own, func(o hwmodel.FrameworkBoard) bool {
				return archs[o.Device] == archs[b.Device] && o.DType == b.DType
			})
			known = known || slices.ContainsFunc(f.Boards, func(o hwmodel.FrameworkBoard) bool { return o.Device == b.Device && o.DType == b.DType })
			if g == f || known || b.Derived {
				continue
			}
			b.Fit = hwmodel.Fit{Derived: true, Band: max(b.Band, borrowedBand), Source: "as by " + g.Name + " (" + b.Source + ")"}
			f.Boards = append(f.Boards, b)
		}
	}
}

// borrowedBand is the half-width of the band of a factor from another framework: where two
// were measured on one board, their factors differ by up to a quarter.
const borrowedBand = 0.25

// bare is a research code on PyTorch itself: launches and kernels as under diffusers,
// without what a pipeline object does besides.
func bare(diffusers *hwmodel.Framework) *hwmodel.Framework {
	f := *diffusers
	f.Name, f.Note = "pytorch", "a network called from a script: launches and kernels as fitted to diffusers, none of a pipeline's own host work"
	f.Fixed = 0
	f.Boards = slices.Clone(f.Boards)
	for i := range f.Boards {
		b := &f.Boards[i]
		if !b.Derived {
			b.Source = "as by diffusers (" + b.Source + ")"
		}
		b.Derived = true
		b.Band = max(b.Band, borrowedBand)
	}
	return &f
}

// ScoreFrameworks prices measured runs of whole pipelines by the frameworks that come with the
// program.
func ScoreFrameworks(data string, profiles []*hwmodel.Profile) ([]Whole, error) {
	rows, err := ReadDiffusion(data)
	if err != nil {
		return nil, err
	}
	byName := map[string]*hwmodel.Framework{}
	for _, name := range hwmodel.Frameworks() {
		if byName[name], err = hwmodel.LoadFramework(name); err != nil {
			return nil, err
		}
	}
	runs, err := priceRuns(rows, profiles, byName)
	if err != nil {
		return nil, err
	}
	var out []Whole
	for i := range runs {
		r, f := runs[i].row, byName[runs[i].row.Framework]
		i0 := slices.IndexFunc(f.Boards, func(b hwmodel.FrameworkBoard) bool { return b.Device == r.Device && b.DType == r.Job.DType })
		if i0 < 0 {
			continue
		}
		attention := ""
		if r.Job.Scores {
			attention = ", scores materialised"
		}
		out = append(out, Whole{
			Set: r.Framework, GPU: r.Device, What: fmt.Sprintf("%s %s batch %d%s", r.Model, r.Job.DType, r.Job.Batch, attention),
			Measured: r.Seconds, Predicted: runs[i].seconds(f.Kernel, f.Fixed, &f.Boards[i0]),
		})
	}
	return out, nil
}

// fitFramework fits one framework to its runs.
func fitFramework(f *hwmodel.Framework, runs []diffusionRun) {
	boards := map[string][]diffusionRun{}
	for _, r := range runs {
		name := r.row.Device + " " + r.row.Job.DType
		boards[name] = append(boards[name], r)
	}
	names := sortedKeys(boards)
	best := math.Inf(1)
	try := func(kernel, fixed float64) {
		var loss float64
		for _, name := range names {
			_, l := fitBoard(boards[name], kernel, fixed)
			loss += l
		}
		if loss < best {
			best, f.Kernel, f.Fixed = loss, kernel, fixed
		}
	}
	// The loss has corners wherever a run turns from bound by the host to bound by the
	// device, so that grids find its least more surely than a descent.
	for kernel := 2e-6; kernel < 2e-4; kernel *= 1.25 {
		for fixed := 0.0; fixed <= 0.6; fixed += 0.1 {
			try(kernel, fixed)
		}
	}
	kernel, fixed := f.Kernel, f.Fixed
	for x := 0.85; x < 1.2; x *= 1.03 {
		for _, y := range []float64{-0.06, -0.03, 0, 0.03, 0.06} {
			if fixed+y >= 0 {
				try(kernel*x, fixed+y)
			}
		}
	}
	f.Kernel, f.Fixed = significant(f.Kernel), significant(f.Fixed)
	for _, name := range names {
		b, _ := fitBoard(boards[name], f.Kernel, f.Fixed)
		b.Device, b.DType, _ = strings.Cut(name, " ")
		b.Fit = leaveModelsOut(f, boards[name])
		f.Boards = append(f.Boards, b)
	}
}

// significant rounds to three digits, which is more than a fit can tell.
func significant(v float64) float64 {
	return figure(strconv.FormatFloat(v, 'g', 3, 64))
}

// fitBoard returns the factors on the time of kernels that suit runs on one board
// best, and the sum of the absolute errors that they leave, of logarithms. Attention has
// a factor of its own where runs of at least three models can tell it from the rest.
func fitBoard(runs []diffusionRun, kernel, fixed float64) (best hwmodel.FrameworkBoard, loss float64) {
	loss = math.Inf(1)
	try := func(slower, attention float64) {
		b := hwmodel.FrameworkBoard{Slower: slower, Attention: attention, Host: 1}
		var sum float64
		for i := range runs {
			sum += math.Abs(math.Log(runs[i].seconds(kernel, fixed, &b) / runs[i].row.Seconds))
			if sum >= loss {
				return
			}
		}
		best, loss = b, sum
	}
	attentions := []float64{1}
	if modelsOf(runs) >= 3 {
		attentions = []float64{0.7, 0.85, 1, 1.2, 1.4, 1.7, 2}
	}
	for _, a := range attentions {
		for s := 0.5; s < 6; s *= 1.1 {
			try(s, a)
		}
	}
	slower, attention := best.Slower, best.Attention
	for x := 0.92; x < 1.1; x *= 1.01 {
		try(slower*x, attention)
	}
	best.Slower = significant(best.Slower)
	return best, loss
}

// modelsOf returns how many models runs are of.
func modelsOf(runs []diffusionRun) int {
	seen := map[string]bool{}
	for i := range runs {
		seen[runs[i].row.Model] = true
	}
	return len(seen)
}

// leaveModelsOut predicts every model's runs on a board from those of the other models,
// and where there is only one model, every batch from the others.
func leaveModelsOut(f *hwmodel.Framework, runs []diffusionRun) hwmodel.Fit {
	group := func(r *diffusionRun) string { return r.row.Model }
	what := "by model"
	if modelsOf(runs) == 1 {
		group = func(r *diffusionRun) string { return strconv.Itoa(r.row.Job.Batch) }
		what = "by batch, of " + runs[0].row.Model + " alone"
	}
	var groups []string
	for i := range runs {
		groups = append(groups, group(&runs[i]))
	}
	slices.Sort(groups)
	groups = slices.Compact(groups)
	fit := hwmodel.Fit{Rows: len(runs), Source: runSources(runs) + "; held out " + what}
	var errs, logs []float64
	for _, g := range groups {
		var rest []diffusionRun
		for _, r := range runs {
			if group(&r) != g {
				rest = append(rest, r)
			}
		}
		if len(rest) == 0 {
			continue
		}
		b, _ := fitBoard(rest, f.Kernel, f.Fixed)
		for i := range runs {
			if r := &runs[i]; group(r) == g {
				l := math.Log(r.row.Seconds / r.seconds(f.Kernel, f.Fixed, &b))
				logs = append(logs, math.Abs(l))
				errs = append(errs, math.Abs(math.Expm1(-l)))
			}
		}
	}
	if len(errs) == 0 {
		fit.Band = loneBand
		return fit
	}
	slices.Sort(errs)
	slices.Sort(logs)
	fit.HeldOutRows = len(errs)
	fit.HeldOutMean = round4(mean(errs))
	fit.HeldOutMedian = round4(errs[len(errs)/2])
	fit.HeldOutP90 = round4(errs[len(errs)*9/10])
	fit.Band = round4(logs[len(logs)*9/10])
	return fit
}

// loneBand is the half-width of the band of a board with a single run: it fits itself.
const loneBand = 0.35

func round4(v float64) float64 { return math.Round(v*1e4) / 1e4 }

// runSources names the sources of runs.
func runSources(runs []diffusionRun) string {
	var out []string
	for i := range runs {
		out = append(out, runs[i].row.Source)
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ", ")
}
