package calibrate

import (
	"fmt"
	"path/filepath"

	"orrery/hwmodel"
	"orrery/workloads/diffusion"
)

// heldOutRun is a measured run that no framework was fitted to, and how it is priced.
type heldOutRun struct {
	set       string // of measurements
	row       string // of the files
	pipeline  string
	device    string
	framework string
	// Clips and Frames cut a video into clips of so many frames, generated one after the other.
	clips, frames int
}

// heldOutFiles are the files that held-out runs stand in.
var heldOutFiles = []string{"streamlined_inference.csv", "restoration.csv", "compilers.csv", "diffusers_docs_misc.csv", "dit_video.csv"}

const (
	a100, a100x40, h100  = "a100-sxm-80gb", "a100-sxm-40gb", "h100-sxm-80gb"
	eager, compiled, own = "diffusers", "diffusers-compiled", "pytorch"
)

// heldOutRuns are those whose board, settings and software are stated. SVD's naive clips of 2
// frames start from the last frame of the one before; AnimateDiff's of 4 are apart. The A100s
// of papers are taken for those of 80 GB. Speed-ups by kept features are compared in workloads/diffusion.
var heldOutRuns = []heldOutRun{
	{set: "clips at once", row: "si0001", pipeline: "svd", device: a100, framework: eager},
	{set: "clips at once", row: "si0002", pipeline: "svd", device: a100, framework: eager},
	{set: "clips at once", row: "si0007", pipeline: "svd-xt", device: a100, framework: eager},
	{set: "clips at once", row: "si0013", pipeline: "animatediff", device: a100, framework: eager},
	{set: "clips at once", row: "si0014", pipeline: "animatediff", device: a100, framework: eager},
	{set: "clips at once", row: "si0019", pipeline: "animatediff", device: a100, framework: eager},
	{set: "naive clips", row: "si0003", pipeline: "svd", device: a100, framework: eager, clips: 13, frames: 2},
	{set: "naive clips", row: "si0004", pipeline: "svd", device: a100, framework: eager, clips: 13, frames: 2},
	{set: "naive clips", row: "si0009", pipeline: "svd-xt", device: a100, framework: eager, clips: 24, frames: 2},
	{set: "naive clips", row: "si0016", pipeline: "animatediff", device: a100, framework: eager, clips: 4, frames: 4},

	{set: "super-resolution", row: "re0001", pipeline: "resshift", device: a100, framework: own},
	{set: "super-resolution", row: "re0019", pipeline: "resshift-4", device: a100, framework: own},
	{set: "super-resolution", row: "re0021", pipeline: "sinsr", device: a100, framework: own},
	{set: "super-resolution", row: "re0011", pipeline: "resshift", device: "rtx-4090-24gb", framework: own},
	{set: "super-resolution", row: "re0015", pipeline: "sinsr", device: "rtx-3090-24gb", framework: own},

	{set: "loops, torch 2.1", row: "co0052", pipeline: "sd15", device: h100, framework: eager},
	{set: "loops, torch 2.1", row: "co0053", pipeline: "sdxl", device: h100, framework: eager},
	{set: "loops, torch 2.1", row: "co0060", pipeline: "sd15", device: a100, framework: eager},
	{set: "loops, torch 2.1", row: "co0061", pipeline: "sdxl", device: a100, framework: eager},
	{set: "loops, compiled", row: "co0056", pipeline: "sdxl", device: h100, framework: compiled},
	{set: "loops, compiled", row: "co0064", pipeline: "sdxl", device: a100, framework: compiled},

	{set: "images end to end", row: "dm0022", pipeline: "sdxl", device: a100x40, framework: eager},
	{set: "images end to end", row: "dm0039", pipeline: "sdxl", device: a100, framework: eager},
	{set: "images end to end", row: "dm0038", pipeline: "sdxl-lcm", device: a100, framework: eager},
	{set: "images end to end", row: "dm0033", pipeline: "sdxl", device: "rtx-3090-24gb", framework: eager},
	{set: "images end to end", row: "dm0037", pipeline: "sdxl", device: "t4-16gb", framework: eager},
	{set: "images end to end", row: "dm0036", pipeline: "sdxl-lcm", device: "t4-16gb", framework: eager},
	{set: "images end to end", row: "dm0031", pipeline: "sdxl", device: "rtx-2080-ti-11gb", framework: eager},
	{set: "images end to end", row: "dm0046", pipeline: "pixart-delta", device: a100, framework: eager},
	{set: "images end to end", row: "co0081", pipeline: "sdxl", device: h100, framework: eager},

	{set: "transformers", row: "dv0181", pipeline: "flux-dev", device: h100, framework: eager},
	{set: "transformers", row: "dv0015", pipeline: "flux-dev", device: h100, framework: eager},
	{set: "transformers", row: "dv0002", pipeline: "flux-dev", device: h100, framework: eager},
	{set: "transformers", row: "dv0093", pipeline: "cogvideox-2b", device: a100, framework: eager},
	{set: "transformers", row: "dv0059", pipeline: "cogvideox-5b", device: a100, framework: eager},
	{set: "transformers", row: "dv0125", pipeline: "cogvideox-5b", device: h100, framework: eager},
	{set: "transformers, compiled", row: "dv0051", pipeline: "flux-dev", device: h100, framework: compiled},
	{set: "transformers, compiled", row: "dv0027", pipeline: "flux-dev", device: h100, framework: compiled},
	{set: "transformers, compiled", row: "dv0003", pipeline: "flux-dev", device: h100, framework: compiled},
	{set: "transformers, compiled", row: "dv0095", pipeline: "cogvideox-2b", device: a100, framework: compiled},
	{set: "transformers, compiled", row: "dv0126", pipeline: "cogvideox-5b", device: h100, framework: compiled},
}

// ScoreHeldOutDiffusion prices measured runs of pipelines that no framework was fitted to.
func ScoreHeldOutDiffusion(data string, profiles []*hwmodel.Profile) ([]Whole, error) {
	runs := map[string]*heldOutRun{}
	for i := range heldOutRuns {
		runs[heldOutRuns[i].row] = &heldOutRuns[i]
	}
	priced := map[string]Whole{}
	pricers := map[[2]string]*diffusion.Pricer{}
	for _, file := range heldOutFiles {
		err := ReadTable(filepath.Join(data, "diffusion", file), diffusionColumns, func(t *Table) error {
			r := runs[t.Text("row_id")]
			if r == nil {
				return nil
			}
			key := [2]string{r.device, r.framework}
			if pricers[key] == nil {
				q, err := pricerOf(r, profiles)
				if err != nil {
					return err
				}
				pricers[key] = q
			}
			w, err := r.price(t, pricers[key])
			priced[r.row] = w
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return heldOutWholes(priced)
}

// heldOutWholes puts the priced rows in order.
func heldOutWholes(priced map[string]Whole) ([]Whole, error) {
	var out []Whole
	for i := range heldOutRuns {
		r := &heldOutRuns[i]
		w, ok := priced[r.row]
		if !ok {
			return nil, fmt.Errorf("calibrate: the measurements have no row %s", r.row)
		}
		out = append(out, w)
	}
	return out, nil
}

func pricerOf(r *heldOutRun, profiles []*hwmodel.Profile) (*diffusion.Pricer, error) {
	f, err := hwmodel.LoadFramework(r.framework)
	if err != nil {
		return nil, err
	}
	for _, p := range profiles {
		if p.Device.Name == r.device {
			return diffusion.NewPricer(p, f)
		}
	}
	return nil, fmt.Errorf("calibrate: no profile of %s", r.device)
}

// price returns the run of row t, measured and predicted.
func (r *heldOutRun) price(t *Table, q *diffusion.Pricer) (Whole, error) {
	row, err := newDiffusionRow(t, r.pipeline, r.device, r.framework)
	switch {
	case err != nil:
		return Whole{}, err
	case row == nil:
		return Whole{}, fmt.Errorf("%s has no time", r.row)
	}
	what, times := "", 1.0
	if r.clips > 0 {
		row.Job.Frames, times = r.frames, float64(r.clips)
		what = fmt.Sprintf(", %d clips of %d frames", r.clips, r.frames)
	}
	c, err := q.Job(row.Job)
	if err != nil {
		return Whole{}, err
	}
	seconds := c.Seconds
	if row.Loop {
		seconds = c.Phase(diffusion.Denoise)
	}
	j := row.Job
	what = fmt.Sprintf("%s %dx%d batch %d, %d steps%s", j.Pipeline.Name, j.Width, j.Height, j.Batch, j.Steps, what)
	return Whole{Set: r.set, GPU: r.device, What: what, Measured: row.Seconds, Predicted: times * seconds}, nil
}
