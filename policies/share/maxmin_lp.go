package share

import (
	"math"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize/convex/lp"
)

// secondary is the weight of the sum of all shares beside the least of them. Nothing that
// the least does not need is left idle for it, and it costs the least no more than about
// this part of the sum's gain.
const secondary = 1e-3

// tolerance is when the simplex holds that no change of basis gains anything.
const tolerance = 1e-9

// jitter is the bound to which right-hand sides are moved, each by another amount. Where
// nobody has anything all rows of classes meet in one corner, and a simplex may walk in a
// circle there; gonum's does. Moved sides meet in no corner (Charnes, 1952).
const jitter = 1e-6

// fair returns the share of its time that a job of each class should spend on each type of
// device, so that the least weighted, normalised speed is as large as it can be (Narayanan
// and others, "Heterogeneity-Aware Cluster Scheduling Policies for Deep Learning
// Workloads", OSDI 2020, section 4.1):
//
//	maximise min over c of  width_c / weight_c * sum over k of speed_ck x_ck
//	with sum over k of x_ck <= 1 and sum over c of n_c width_ck x_ck <= devices_k.
//
// Width stands before the sum since shares are of devices and not of jobs.
func fair(all []class, devices []float64) ([][]float64, error) {
	p := newProgram(all, devices)
	_, x, err := lp.Simplex(p.cost, p.a, p.b, tolerance, p.basis)
	if err != nil {
		return nil, err
	}
	out := make([][]float64, len(all))
	for c := range out {
		out[c] = make([]float64, len(devices))
		for k := range devices {
			if p.at[c][k] >= 0 {
				out[c][k] = min(max(x[p.at[c][k]], 0), 1)
			}
		}
	}
	return out, nil
}

// program is the linear program in the form that the simplex wants: minimise cost x with
// a x = b, x >= 0. Its columns are the shares, then the least, then one slack a row.
type program struct {
	cost, b []float64
	a       *mat.Dense
	at      [][]int // column of a class's share of a type, -1 where it does not fit
	basis   []int   // the slacks: nobody has anything
}

func newProgram(all []class, devices []float64) *program {
	p := &program{}
	cols, jobs := 0, 0
	for c := range all {
		row := make([]int, len(devices))
		for k := range devices {
			row[k] = -1
			if all[c].speed[k] > 0 && devices[k] > 0 {
				row[k] = cols
				cols++
			}
		}
		p.at = append(p.at, row)
		jobs += all[c].n
	}
	var types []int
	for k, d := range devices {
		if d > 0 {
			types = append(types, k)
		}
	}
	least, rows := cols, 2*len(all)+len(types)
	p.a = mat.NewDense(rows, cols+1+rows, nil)
	p.b = make([]float64, rows)
	p.cost = make([]float64, cols+1+rows)
	p.cost[least] = -1
	for r := range rows {
		p.a.Set(r, least+1+r, 1)
		p.basis = append(p.basis, least+1+r)
	}
	for c := range all {
		p.class(c, &all[c], least, len(all), float64(jobs))
	}
	for i, k := range types {
		r := 2*len(all) + i
		p.b[r] = 1
		for c := range all {
			if at := p.at[c][k]; at >= 0 {
				p.a.Set(r, at, float64(all[c].n)*all[c].width[k]/devices[k])
			}
		}
	}
	for r := range p.b {
		p.b[r] += jitter * math.Mod(float64(r+1)*math.Phi, 1)
	}
	return p
}

// class writes the rows of a class: least - value <= 0, and its time is at most 1.
func (p *program) class(c int, cl *class, least, classes int, jobs float64) {
	p.a.Set(c, least, 1)
	p.b[classes+c] = 1
	for k, at := range p.at[c] {
		if at < 0 {
			continue
		}
		value := cl.width[k] * cl.speed[k] / cl.weight
		p.a.Set(c, at, -value)
		p.a.Set(classes+c, at, 1)
		p.cost[at] = -secondary * float64(cl.n) * value / jobs
	}
}

// level returns the least value that shares give: what fair maximises.
func level(all []class, x [][]float64) float64 {
	least := 0.0
	for c := range all {
		sum := 0.0
		for k := range x[c] {
			sum += all[c].width[k] * all[c].speed[k] / all[c].weight * x[c][k]
		}
		if c == 0 || sum < least {
			least = sum
		}
	}
	return least
}
