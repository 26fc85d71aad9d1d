package scenarios

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"orrery/hwmodel"
	"orrery/internal/names"
	"orrery/policies/lrsched"
	"orrery/workloads/quality"
	"orrery/workloads/training"
)

// Budget is a question about one training job: what it costs to reach a loss, or what loss
// a budget buys, by schedule of the learning rate, number of devices and kind of device. Its
// file stands alone: it has none of the sections of a [Scenario].
type Budget struct {
	Name        string `toml:"name"`        // default: the file's name without its ending
	Description string `toml:"description"` // one sentence

	Network    string `toml:"network"`   // one of training.Names
	Batch      int    `toml:"batch"`     // samples a step, of one device or of all, see Scaling
	Scaling    string `toml:"scaling"`   // weak (default): every device takes so many; strong: all of them together
	Precision  string `toml:"precision"` // one of training.Precisions, default amp
	Optimiser  string `toml:"optimiser"` // one of training.Optimisers, default sgd
	Checkpoint bool   `toml:"checkpoint"`
	System     string `toml:"system"`   // one of training.Systems, default eager
	Sharding   string `toml:"sharding"` // one of training.Shardings, default none

	Widths    []int    `toml:"widths"`    // devices to try, default 1, 2, 4 and 8
	PerNode   int      `toml:"per_node"`  // devices of one node, default 8
	Schedules []string `toml:"schedules"` // of lrsched.Names, default linear, cosine, step-30-60-90, rex

	// The goal: at least one is stated. Without a loss the question is what the limits buy.
	Loss     float64  `toml:"loss"`
	Deadline Duration `toml:"deadline"`
	GPUHours float64  `toml:"gpu_hours"`
	Cost     float64  `toml:"cost"` // in the currency of the prices

	Quality BudgetQuality  `toml:"quality"`
	Devices []BudgetDevice `toml:"device"`

	dir  string
	fit  *quality.Fit
	doc  *document
	flag []string
}

// BudgetDevice is one [[device]].
type BudgetDevice struct {
	Device       string  `toml:"device"`         // one of hwmodel.Names
	PricePerHour float64 `toml:"price_per_hour"` // of one, 0 (default): not known
}

// BudgetQuality says how the loss falls: as in the job's own curves, or by the standard noisy
// quadratic model.
type BudgetQuality struct {
	Curves   []BudgetCurve `toml:"curve"`
	Momentum float64       `toml:"momentum"` // of SGD, default 0
	// Critical is the batch, in samples, beyond which the standard model stops gaining from
	// larger ones in proportion: where its own batch is 16. Without curves it is needed.
	Critical float64 `toml:"critical"`
	Most     int     `toml:"most"` // longest run that the standard model is asked about, steps, default 20000
}

// BudgetCurve is a loss curve of the job: a CSV file with columns step and loss.
type BudgetCurve struct {
	File     string  `toml:"file"`
	Batch    float64 `toml:"batch"`    // samples a step
	LR       float64 `toml:"lr"`       // peak learning rate, where the file has no column lr
	Schedule string  `toml:"schedule"` // of the rate, default constant
}

const budgetFolder = "budget"

// Budgets returns the names of the shipped questions.
func Budgets() []string { return shippedIn(budgetFolder) }

// shippedIn returns the names of the shipped files of a folder.
func shippedIn(folder string) []string {
	files, err := shipped.ReadDir(folder)
	if err != nil {
		panic(err) // the folder is part of the program
	}
	var list []string
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Name(), ".toml"); ok {
			list = append(list, folder+"/"+name)
		}
	}
	return list
}

// LoadBudget returns the question in a file, or the shipped one of a name such as
// budget/resnet50, with overrides. Errors are of type [*Error].
func LoadBudget(file string, sets ...string) (*Budget, error) {
	name := strings.TrimSuffix(filepath.ToSlash(file), ".toml")
	data, err := os.ReadFile(file)
	if err != nil && slices.Contains(Budgets(), name) {
		file = name + ".toml"
		data, err = shipped.ReadFile(file)
	}
	if err != nil {
		return nil, &Error{File: file, Msg: fmt.Sprintf("there is no such file that can be read, nor a shipped question of that name; shipped are %s", strings.Join(Budgets(), ", ")), Err: err}
	}
	doc, err := parse(file, data)
	if err != nil {
		return nil, err
	}
	for _, set := range sets {
		if err := doc.set(set); err != nil {
			return nil, err
		}
	}
	return resolveBudget(doc)
}

func resolveBudget(doc *document) (*Budget, error) {
	base := filepath.Base(doc.name)
	b := &Budget{
		Name: strings.TrimSuffix(base, filepath.Ext(base)), Scaling: scalingWeak, Precision: string(training.AMP), Optimiser: string(training.SGD),
		System: training.Systems()[0].Name, Sharding: string(training.None), Widths: []int{1, 2, 4, 8}, PerNode: 8,
		Schedules: []string{"linear", "cosine", "step-30-60-90", "rex"}, Quality: BudgetQuality{Most: 20000}, dir: doc.dir, doc: doc,
	}
	d := &decoder{doc: doc}
	d.fill("", doc.tree, []any{b}, nil)
	if err := d.err(); err != nil {
		return nil, err
	}
	c := &checker{d: d, s: &Scenario{}} // what may be read is noted there
	c.budget(b)
	if err := d.err(); err != nil {
		return nil, err
	}
	c.curves(b)
	if err := d.err(); err != nil {
		return nil, err
	}
	return b, nil
}

// Values of scaling.
const (
	scalingWeak   = "weak"
	scalingStrong = "strong"
)

// oneOf refuses what is not among names.
func (c *checker) oneOf(key, kind, value string, all []string) {
	if !slices.Contains(all, value) {
		c.wrap(key, names.Unknown(kind, value, all))
	}
}

func asStrings[T ~string](list []T) []string {
	var out []string
	for _, x := range list {
		out = append(out, string(x))
	}
	return out
}

// budget checks a question.
func (c *checker) budget(b *Budget) {
	c.oneOf("network", "network", b.Network, training.Names())
	c.oneOf("scaling", "scaling", b.Scaling, []string{scalingWeak, scalingStrong})
	c.oneOf("precision", "precision", b.Precision, asStrings(training.Precisions()))
	c.oneOf("optimiser", "optimiser", b.Optimiser, asStrings(training.Optimisers()))
	c.oneOf("sharding", "sharding", b.Sharding, asStrings(training.Shardings()))
	var systems []string
	for _, s := range training.Systems() {
		systems = append(systems, s.Name)
	}
	c.oneOf("system", "system", b.System, systems)
	c.between("batch", b.Batch, 1, 1<<24)
	c.between("per_node", b.PerNode, 1, 1024)
	if len(b.Widths) == 0 {
		c.fail("widths", "is empty; want numbers of devices, such as [1, 2, 4]")
	}
	for i, w := range b.Widths {
		c.between(fmt.Sprintf("widths[%d]", i), w, 1, 1<<16)
		if b.Scaling == scalingStrong && w > 0 && b.Batch%w != 0 {
			c.fail(fmt.Sprintf("widths[%d]", i), "is %d; want a divisor of the batch, %d, which all devices share", w, b.Batch)
		}
	}
	if len(b.Schedules) == 0 {
		c.fail("schedules", "is empty; want names, such as [\"linear\", \"rex\"]")
	}
	for i, s := range b.Schedules {
		if _, err := lrsched.Load(s); err != nil {
			c.wrap(fmt.Sprintf("schedules[%d]", i), err)
		}
	}
	for key, x := range map[string]float64{"loss": b.Loss, "gpu_hours": b.GPUHours, "cost": b.Cost, "quality.critical": b.Quality.Critical} {
		c.number(key, x, "0 for none")
	}
	if b.Deadline < 0 {
		c.fail("deadline", "is %v; want a time, or 0s for none", b.Deadline)
	}
	if b.Loss == 0 && b.Deadline == 0 && b.GPUHours == 0 && b.Cost == 0 {
		c.d.errorf("loss", "there is no goal; want a loss to reach, or deadline, gpu_hours or cost as a limit")
	}
	if len(b.Devices) == 0 {
		c.d.errorf("device", "there is no [[device]]; want at least one")
	}
	for i := range b.Devices {
		at := c.in(fmt.Sprintf("device[%d]", i))
		at.oneOf("device", "device", b.Devices[i].Device, hwmodel.Names())
		at.number("price_per_hour", b.Devices[i].PricePerHour, "of one device, 0 if not known")
		if b.Cost > 0 && b.Devices[i].PricePerHour == 0 {
			at.fail("price_per_hour", "is not known; want a price, since cost is a limit")
		}
	}
	q := c.in("quality")
	q.between("most", b.Quality.Most, 10, 1<<24)
	if !(b.Quality.Momentum >= 0 && b.Quality.Momentum < 1) {
		q.fail("momentum", "is %s; want 0 up to 1", floatText(b.Quality.Momentum))
	}
	if len(b.Quality.Curves) == 0 && b.Quality.Critical == 0 {
		q.d.errorf("quality", "the quality is not known; want [[quality.curve]] sections with the job's loss curves, or quality.critical for the standard model")
	}
}

// curves reads the loss curves and fits the model.
func (c *checker) curves(b *Budget) {
	if len(b.Quality.Curves) == 0 {
		b.flag = append(b.flag, "the loss is that of the standard noisy quadratic model, not of this job")
		return
	}
	var list []quality.LossCurve
	for i := range b.Quality.Curves {
		at := c.in(fmt.Sprintf("quality.curve[%d]", i))
		if curve := at.curve(&b.Quality.Curves[i]); curve != nil {
			list = append(list, *curve)
		}
	}
	if len(c.d.errs) > 0 {
		return
	}
	fit, err := quality.FitCurves(list, b.Quality.Momentum)
	if err != nil {
		c.wrap("quality.curve", err)
		return
	}
	b.fit = fit
	const poor = 0.05
	if fit.Residual > poor {
		b.flag = append(b.flag, fmt.Sprintf("the quality model misses the loss curves by %.0f %%", 100*fit.Residual))
	}
}

func (c *checker) curve(k *BudgetCurve) *quality.LossCurve {
	if k.Schedule == "" {
		k.Schedule = "constant"
	}
	profile, err := lrsched.Load(k.Schedule)
	if err != nil {
		c.wrap("schedule", err)
		return nil
	}
	c.number("lr", k.LR, "the peak learning rate, 0 where the file has a column lr")
	if !(k.Batch > 0 && k.Batch <= 1e12) {
		c.fail("batch", "is %s; want samples a step, above 0", floatText(k.Batch))
		return nil
	}
	path := c.path("file", k.File)
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		c.fail("file", "cannot be read: %v", errors.Unwrap(err))
		return nil
	}
	defer f.Close()
	curve, err := quality.ReadLossCurve(k.File, f, func(int) float64 { return 0 }, quality.Constant(k.Batch))
	if err != nil {
		c.wrap("file", err)
		return nil
	}
	if k.LR > 0 {
		last := curve.Step[len(curve.Step)-1]
		s := lrsched.Of(profile)
		curve.LR = func(step int) float64 { return k.LR * s.LR(min(step, last-1), max(last, 1)) }
	}
	return curve
}

// Flags returns what makes the answers doubtful.
func (b *Budget) Flags() []string { return slices.Clone(b.flag) }

// Fit returns the quality model that was fitted to the job's curves, nil if none was.
func (b *Budget) Fit() *quality.Fit { return b.fit }

// Option is a way to run the job, priced.
type BudgetChoice struct {
	Device  string
	Width   int
	Batch   int // samples of a step, over all devices
	Step    training.Step
	PerHour float64
	Refused string
}

// Choices prices a step of the job on every device at every width.
func (b *Budget) Choices() ([]BudgetChoice, error) {
	sys, err := training.LoadSystem(b.System)
	if err != nil {
		return nil, err
	}
	var out []BudgetChoice
	for _, d := range b.Devices {
		p, err := hwmodel.Load(d.Device)
		if err != nil {
			return nil, err
		}
		for _, width := range b.Widths {
			each := b.Batch
			if b.Scaling == scalingStrong {
				each = b.Batch / width
			}
			s := training.Setup{
				Network: b.Network, Batch: each, Precision: training.Precision(b.Precision), Optimiser: training.Optimiser(b.Optimiser),
				Checkpoint: b.Checkpoint, Devices: width, PerNode: min(width, b.PerNode), Sharding: training.Sharding(b.Sharding),
			}
			x := BudgetChoice{Device: d.Device, Width: width, Batch: each * width, PerHour: d.PricePerHour}
			if x.Step, err = s.Step(p, sys); err == nil {
				err = s.Fits(p.Device.Memory)
			}
			if err != nil {
				x.Refused = err.Error()
			}
			out = append(out, x)
		}
	}
	return out, nil
}

// Learner answers what training makes of steps, under the schedules of the question. It
// implements plan.Learner.
type Learner struct {
	b         *Budget
	model     *quality.NQM
	grid      []float64
	schedules []quality.Schedule
	most      int
	perBatch  float64 // the model's batch for one sample
	losses    map[[3]int]float64
}

// Learner returns a learner.
func (b *Budget) Learner() (*Learner, error) {
	l := &Learner{b: b, model: quality.Standard(1000, 70), grid: quality.Grid(), most: b.Quality.Most, losses: map[[3]int]float64{}}
	if b.fit != nil {
		l.model, l.grid, l.most, l.perBatch = b.fit.Model, b.fit.Grid(), b.fit.Most(), 1
	} else {
		const standardCritical = 16 // see TestCriticalBatch of orrery/workloads/quality
		l.model.Momentum = b.Quality.Momentum
		l.perBatch = standardCritical / b.Quality.Critical
	}
	for _, s := range b.Schedules {
		p, err := lrsched.Load(s)
		if err != nil {
			return nil, err
		}
		l.schedules = append(l.schedules, lrsched.Of(p))
	}
	return l, nil
}

// Loss is that at the end of a run of so many steps, tuned.
func (l *Learner) Loss(schedule, batch, steps int) float64 {
	key := [3]int{schedule, batch, steps}
	if x, ok := l.losses[key]; ok {
		return x
	}
	x := l.model.Tune(l.schedules[schedule], steps, quality.Constant(l.perBatch*float64(batch)), l.grid).Loss
	l.losses[key] = x
	return x
}

// Steps is the length of the shortest run that reaches a loss.
func (l *Learner) Steps(schedule, batch int, loss float64) (int, bool) {
	low, high := 0, min(64, l.most) // low does not, high may
	for !(l.Loss(schedule, batch, high) <= loss) {
		if high >= l.most {
			return 0, false
		}
		low, high = high, min(2*high, l.most)
	}
	// Within a thousandth: a step is much shorter than what is asked.
	for high-low > 1+high/1000 {
		if mid := low + (high-low)/2; l.Loss(schedule, batch, mid) <= loss {
			high = mid
		} else {
			low = mid
		}
	}
	return high, true
}

// Most is the longest run that the learner answers for.
func (l *Learner) Most(int) int { return l.most }

// Goal says in words what is asked.
func (b *Budget) Goal() string {
	var parts []string
	if b.Loss > 0 {
		parts = append(parts, "a loss of "+short(b.Loss))
	}
	if b.Deadline > 0 {
		parts = append(parts, "within "+time.Duration(b.Deadline).String())
	}
	if b.GPUHours > 0 {
		parts = append(parts, "for "+short(b.GPUHours)+" GPU-hours")
	}
	if b.Cost > 0 {
		parts = append(parts, "for "+short(b.Cost))
	}
	if b.Loss == 0 {
		parts = slices.Insert(parts, 0, "the lowest loss")
	}
	return strings.Join(parts, " ")
}
