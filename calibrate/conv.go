package calibrate

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"orrery/hwmodel"
)

// conv2d is the operator of two-dimensional convolutions.
var conv2d = &Operator{
	Name: "conv2d", Words: []string{"pass"},
	Sizes:    []string{"n", "cin", "h", "w", "cout", "kh", "kw", "sh", "sw", "ph", "pw", "groups"},
	Optional: []string{"ph", "pw", "groups"},
	Work:     convWork,
	Predict: func(p *hwmodel.Profile, r *Row) (hwmodel.Estimate, error) {
		v, exact := p.Conv(EngineOf(r.Source), r.DType, r.Words[0])
		if v == nil {
			return hwmodel.Estimate{}, fmt.Errorf("%s has no constants for %s convolutions", p.Device.Name, r.DType)
		}
		c := convOf(r)
		e := v.Estimate(&p.Device, &c)
		e.Derived = e.Derived || !exact
		return e, nil
	},
	Clear: func(p *hwmodel.Profile) { p.Convs = nil },
	Fit:   fitConvs,
	Derive: func(p, donor *hwmodel.Profile) error {
		for _, v := range donor.Convs {
			if v.Derived || slices.ContainsFunc(p.Convs, func(q hwmodel.Conv) bool { return q.Key == v.Key && q.Pass == v.Pass }) {
				continue
			}
			if donor.Device.Arch != p.Device.Arch {
				v.Residual = nil // its tiles and methods are the architecture's
			}
			v.Fit = derivedFit(donor, v.Fit)
			p.Convs = append(p.Convs, v)
		}
		return nil
	},
	Fits: func(p *hwmodel.Profile) []NamedFit {
		var out []NamedFit
		for i := range p.Convs {
			v := &p.Convs[i]
			out = append(out, NamedFit{strings.Join([]string{v.Engine, v.DType, v.Pass}, " "), &v.Fit})
		}
		return out
	},
}

func convOf(r *Row) hwmodel.ConvShape {
	a := &r.Args
	return hwmodel.ConvShape{
		N: a[0], Cin: a[1], H: a[2], W: a[3], Cout: a[4], KernelH: a[5], KernelW: a[6],
		StrideH: a[7], StrideW: a[8], PadH: a[9], PadW: a[10], Groups: max(a[11], 1),
	}
}

func convWork(r *Row) (flops, bytes float64) {
	c := convOf(r)
	flops, elements := c.Work()
	w, _ := hwmodel.Width(r.DType)
	return flops, elements * w
}

// fewestConvs is the number of rows below which only a speed and overheads are fitted.
const fewestConvs = 20

// convKey names the rows that one set of constants is fitted to.
type convKey struct {
	hwmodel.Key
	pass string
}

// fitConvs fits the convolutions of each engine, format and pass by themselves.
func fitConvs(p *hwmodel.Profile, rows []Row) error {
	sets := map[convKey][]Row{}
	for _, r := range rows {
		k := convKey{hwmodel.Key{Engine: EngineOf(r.Source), DType: r.DType}, r.Words[0]}
		sets[k] = append(sets[k], r)
	}
	keys := make([]convKey, 0, len(sets))
	for k := range sets {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b convKey) int {
		return cmp.Or(strings.Compare(a.Engine, b.Engine), strings.Compare(a.DType, b.DType), strings.Compare(a.pass, b.pass))
	})
	for _, k := range keys {
		own := func(v hwmodel.Conv) bool { return v.Key == k.Key && v.Pass == k.pass }
		if len(sets[k]) < fewestStreams || slices.ContainsFunc(p.Convs, func(v hwmodel.Conv) bool { return own(v) && !v.Derived }) {
			continue
		}
		v, err := measuredConv(&p.Device, k, sets[k])
		if err != nil {
			return err
		}
		p.Convs = append(slices.DeleteFunc(slices.Clone(p.Convs), own), *v)
	}
	return nil
}

// measuredConv fits one set of constants and scores it by cross-validation.
func measuredConv(d *hwmodel.Device, k convKey, rows []Row) (*hwmodel.Conv, error) {
	v := fitConv(d, k, rows)
	logs, err := heldOutLogs(rows, 4, func(train []Row) (func(r *Row) float64, error) {
		q := fitConv(d, k, train)
		return func(r *Row) float64 {
			c := convOf(r)
			return q.Time(d, &c)
		}, nil
	})
	if err != nil {
		return nil, err
	}
	v.Fit = errorsOf(logs)
	v.Fit.Rows = len(rows)
	v.Baseline = Round(mean(heldOutBaseline(&Operator{Work: convWork}, d, rows, 4)))
	v.Spread = spreadBy(rows, logs, func(r *Row) float64 { return r.Args[1] * r.Args[4] }) // channels in times out
	v.Source = "measured by " + rows[0].Source
	return &v, nil
}

// fewConv fits no more than overheads and one speed, for a handful of rows.
func fewConv(d *hwmodel.Device, k convKey, rows []Row) hwmodel.Conv {
	shortest := math.Inf(1)
	for i := range rows {
		shortest = min(shortest, rows[i].Seconds)
	}
	params := []Parameter{
		{Name: "launch", Start: 0.3 * shortest, Low: 1e-8, High: 1e-3, Logarithms: true},
		{Name: "speed", Start: 0.5, Low: 0.02, High: 1},
		{Name: "bandwidth", Start: 0.5, Low: 0.02, High: 1},
	}
	build := func(x []float64) hwmodel.Conv {
		v := hwmodel.Conv{Key: k.Key, Pass: k.pass, Host: x[0], Launch: x[0], Wave: 0.9, Fill: 30, Bandwidth: x[2], Skip: 0.5}
		for i, share := range [...]float64{1, 0.9, 0.6, 0.2} {
			v.Direct[i] = Round(share * x[1])
		}
		return v
	}
	return build(Search(params, func(x []float64) float64 {
		v := build(x)
		sum := 0.1 * Strayed(params, x)
		for i := range rows {
			c := convOf(&rows[i])
			sum += math.Abs(math.Log(v.Time(d, &c) / rows[i].Seconds))
		}
		return sum
	}))
}

// fitConv finds the constants that predict rows.
func fitConv(d *hwmodel.Device, k convKey, rows []Row) hwmodel.Conv {
	if len(rows) < fewestConvs {
		return fewConv(d, k, rows)
	}
	shortest := math.Inf(1)
	for i := range rows {
		shortest = min(shortest, rows[i].Seconds)
	}
	params := []Parameter{
		{Name: "host", Start: 0.8 * shortest, Low: 1e-8, High: 1e-3, Logarithms: true},
		{Name: "launch", Start: 0.5 * shortest, Low: 1e-8, High: 1e-3, Logarithms: true},
		{Name: "direct 128x128", Start: 0.6, Low: 0.02, High: 1},
		{Name: "direct 128x64", Start: 0.5, Low: 0.02, High: 1},
		{Name: "direct 64x32", Start: 0.3, Low: 0.01, High: 1},
		{Name: "direct 32x8", Start: 0.1, Low: 0.01, High: 1},
		{Name: "wave", Start: 0.9, Low: 0, High: 1},
		{Name: "fill", Start: 50, Low: 1, High: 5000, Logarithms: true},
		{Name: "bandwidth", Start: 0.6, Low: 0.05, High: 1},
	}
	base := hwmodel.Conv{Key: k.Key, Pass: k.pass}
	tensor := k.DType == "fp16" && d.FP16FLOPs > 2*d.FP32FLOPs
	winograd := !tensor && k.DType != "int8"
	strided := k.pass == "bwd_data"
	if winograd {
		params = append(params, Parameter{Name: "winograd", Start: 0.6, Low: 0.02, High: 1}, Parameter{Name: "transform", Start: 0.5, Low: 0.02, High: 1},
			Parameter{Name: "enough", Start: 3e5, Low: 100, High: 1e8, Logarithms: true}, Parameter{Name: "deep", Start: 30, Low: 0.5, High: 500, Logarithms: true})
	}
	if tensor {
		params = append(params, Parameter{Name: "odd", Start: 0.2, Low: 0.005, High: 1})
	}
	if strided {
		params = append(params, Parameter{Name: "skip", Start: 0.5, Low: 0, High: 1})
	}
	build := func(x []float64) hwmodel.Conv {
		v := base
		v.Host, v.Launch, v.Direct, v.Wave, v.Fill, v.Bandwidth = x[0], x[1], [4]float64{x[2], x[3], x[4], x[5]}, x[6], x[7], x[8]
		x = x[9:]
		if winograd {
			v.Winograd, v.Transform, v.Enough, v.Deep, x = x[0], x[1], x[2], x[3], x[4:]
		}
		if tensor {
			v.Odd, x = x[0], x[1:]
		}
		if strided {
			v.Skip = x[0]
		}
		return v
	}
	few := thin(rows, 500)
	loss := func(x []float64) float64 {
		v := build(x)
		sum := 0.1 * Strayed(params, x)
		for i := range few {
			c := convOf(&few[i])
			sum += math.Abs(math.Log(v.Time(d, &c) / few[i].Seconds))
		}
		return sum / float64(len(few))
	}
	var v hwmodel.Conv
	least := math.Inf(1)
	// Which method was used where is a matter of the constants, so that the search
	// may settle on too few of them: it starts from either end.
	for _, start := range []struct{ direct, winograd float64 }{{0.5, 0.4}, {0.8, 0.2}} {
		for i := range params {
			switch params[i].Name {
			case "direct 128x128", "direct 128x64":
				params[i].Start = start.direct
			case "winograd":
				params[i].Start = start.winograd
			}
		}
		if x := Search(params, loss); loss(x) < least {
			v, least = build(x), loss(x)
		}
	}
	if len(rows) >= fewestCorrected {
		v.Residual = convResidual(d, &v, rows)
	}
	return v
}

// convResidual fits a correction over pixels and channels on top of v.
func convResidual(d *hwmodel.Device, v *hwmodel.Conv, rows []Row) *hwmodel.Residual {
	samples := make([]Sample, len(rows))
	for i := range rows {
		c := convOf(&rows[i])
		oh, ow := c.Out()
		samples[i] = Sample{At: []float64{c.N * oh * ow, c.Cin, c.Cout}, Log: math.Log(rows[i].Seconds / v.Time(d, &c))}
	}
	return FitResidual([]hwmodel.Axis{
		{Name: "pixels", Nodes: logNodes(samples, 0, 8)}, {Name: "cin", Nodes: logNodes(samples, 1, 6)}, {Name: "cout", Nodes: logNodes(samples, 2, 6)},
	}, samples, 0.4)
}
