package report

import (
	"strings"
	"testing"
	"time"

	"orrery/cluster/jobs"
	"orrery/policies/share"
	"orrery/sim"
)

func TestJobsAreSummedUp(t *testing.T) {
	job := func(name string, arrived, first, end float64, deadline float64) jobs.Ended {
		e := jobs.Ended{Job: jobs.Job{Name: name, Arrived: sim.Seconds(arrived), Deadline: sim.Seconds(deadline), Work: 10, Speed: [][]float64{{1}}, Restart: 2 * time.Second}, First: sim.Seconds(first), End: -1, Useful: 3600, Restarting: 360, Cost: 1}
		if end > 0 {
			e.End = sim.Seconds(end)
		}
		return e
	}
	o := &jobs.Outcome{Capacity: 36000, Held: 14400, End: sim.Seconds(200), ByType: []float64{14400}, Jobs: []jobs.Ended{
		job("a", 0, 0, 12, 20), job("a", 10, 12, 46, 40), job("b", 20, 46, 0, 0), {Job: jobs.Job{Name: "b", Arrived: sim.Seconds(30)}, First: -1, End: sim.Seconds(30), Refused: true},
	}}
	r := NewJobs(o, []share.Type{{Name: "x", Devices: 2}})
	if r.Arrived != 4 || r.Finished != 2 || r.Open != 1 || r.Refused != 1 || r.Met != 1 || r.Deadlines != 2 {
		t.Errorf("%+v", r)
	}
	if r.JCT.Mean != 24 || r.JCT.P50 != 12 || r.JCT.Max != 36 || r.Wait.Max != 26 || r.MakespanS != 46 || r.Busy != 0.4 || r.Cost != 3 {
		t.Errorf("%+v", r)
	}
	if r.SlowP50 != 1 || r.SlowP99 != 3 {
		t.Errorf("slowness %g and %g, want 1 and 3", r.SlowP50, r.SlowP99)
	}
	if r.Kinds[0].Name != "a" || r.Kinds[0].Finished != 2 || r.Kinds[1].Finished != 0 || r.Types[0].Hours != 4 {
		t.Errorf("%+v %+v", r.Kinds, r.Types)
	}
	if text := r.Text(); !strings.Contains(text, "deadline 1 of 2 met") || !strings.Contains(text, "restarts 9.1 %") {
		t.Error(text)
	}
	if empty := NewJobs(&jobs.Outcome{ByType: []float64{0}}, []share.Type{{Name: "x"}}); empty.JCT.Mean.Exists() || !strings.Contains(empty.Text(), "0 arrived") {
		t.Error("a run without jobs has a mean completion time")
	}
}
