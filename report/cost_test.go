package report

import (
	"math"
	"strings"
	"testing"

	"orrery/cluster"
	"orrery/hwmodel"
	"orrery/workloads"
)

// flat is an effort of 10 us of a device at its peak FLOP/s for a token, and of 1 ms at its peak
// bandwidth for an iteration.
type flat struct{}

func (flat) Exert(b *hwmodel.Batch) (compute, memory float64) {
	return 1e-5 * float64(b.Tokens()), 1e-3
}

var toyPower = hwmodel.Power{
	Kind: hwmodel.TextWork, Idle: 100, Serving: 50, Compute: 1000, Memory: 400, Limit: 700, Fit: hwmodel.Fit{Band: 0.1, Derived: true},
}

// pricedSpec is a replica of two devices.
func pricedSpec() []ReplicaSpec {
	s := storySpec[0]
	s.Supply = Supply{Devices: 2, PricePerHour: 3.6, Power: &toyPower, Effort: flat{}}
	return []ReplicaSpec{s}
}

// The story in joules and money: two devices for 100 ms, of which an iteration is under way for 80;
// five iterations of 233 tokens; two requests end, six tokens come out.
func TestCostByHand(t *testing.T) {
	m := measured(Config{Replicas: pricedSpec()}, story(), 100*ms)
	c := m.Summary().Cost
	idle, above := 100*0.1*2, 50*0.08*2+1000*233e-5+400*5e-3
	near(t, "GPU-hours", c.GPUHours, 0.2/3600, 1e-9)
	near(t, "GPU-hours busy", c.GPUHoursBusy, 2*0.075/3600, 1e-9) // 1 ms of host in each iteration
	near(t, "price", c.Price, 0.2e-3, 1e-9)
	near(t, "price a request", c.PricePerRequest, 0.1e-3, 1e-9)
	near(t, "price a million tokens", c.PricePerMillionTokens, 0.2e-3/6e-6, 1e-9)
	near(t, "energy", c.EnergyJ, idle+above, 1e-9)
	near(t, "idle", c.IdleJ, idle, 1e-9)
	near(t, "low", c.EnergyLowJ, idle+above*math.Exp(-0.1), 1e-9)
	near(t, "high", c.EnergyHighJ, idle+above*math.Exp(0.1), 1e-9)
	near(t, "band", c.EnergyBand, 0.1, 1e-9)
	near(t, "watts", c.WattsMean, (idle+above)/0.2, 1e-9)
	near(t, "joules a request", c.JoulesPerRequest, (idle+above)/2, 1e-9)
	near(t, "joules a token", c.JoulesPerToken, (idle+above)/6, 1e-9)
	if !c.EnergyDerived || c.JoulesPerImage.Exists() {
		t.Errorf("derived %v, %v J an image", c.EnergyDerived, c.JoulesPerImage)
	}
}

// From 40 ms on three iterations of 83 tokens are measured, which take 40 ms of 60.
func TestCostAfterWarmUp(t *testing.T) {
	m := measured(Config{Replicas: pricedSpec(), WarmUp: 40 * ms}, story(), 100*ms)
	near(t, "energy", m.Summary().Cost.EnergyJ, 100*0.06*2+50*0.04*2+1000*83e-5+400*3e-3, 1e-9)
}

// A replica that is off is not paid for, and draws nothing.
func TestCostOfAbsence(t *testing.T) {
	log := append(story()[:19:19], cluster.Record{What: cluster.Moved, At: 60 * ms, State: cluster.Off})
	c := measured(Config{Replicas: pricedSpec()}, log, 100*ms).Summary().Cost
	near(t, "GPU-hours", c.GPUHours, 2*0.06/3600, 1e-9)
	near(t, "idle", c.IdleJ, 100*0.06*2, 1e-9)
}

// What is not known is null, and merged runs add up.
func TestCostNotKnown(t *testing.T) {
	c := measured(Config{Replicas: storySpec}, story(), 100*ms).Summary().Cost
	if c.GPUHours.Exists() || c.Price.Exists() || c.EnergyJ.Exists() {
		t.Errorf("something is known of nothing: %+v", c)
	}
	unpriced := pricedSpec()
	unpriced[0].Supply.PricePerHour = 0
	a := measured(Config{Replicas: unpriced}, story(), 100*ms)
	one := a.Summary().Cost
	if one.Price.Exists() || one.PricePerRequest.Exists() || !one.EnergyJ.Exists() || !one.GPUHours.Exists() {
		t.Errorf("without a price: %+v", one)
	}
	a.Merge(measured(Config{Replicas: unpriced}, story(), 100*ms))
	two := a.Summary().Cost
	near(t, "energy of two runs", two.EnergyJ, 2*float64(one.EnergyJ), 1e-9)
	near(t, "joules a token of two runs", two.JoulesPerToken, float64(one.JoulesPerToken), 1e-9)
	unpriced[0].Supply.Power = nil
	if c := measured(Config{Replicas: unpriced}, story(), 100*ms).Summary().Cost; c.EnergyJ.Exists() || c.EnergyLowJ.Exists() || c.JoulesPerToken.Exists() || c.WattsMean.Exists() {
		t.Errorf("without a power: %+v", c)
	}
}

// No replica draws more than its limit, however much it computes; in a pipeline, whose
// iterations overlap, the stages' own times count.
func TestPowerIsCapped(t *testing.T) {
	for _, stages := range []int{1, 2} {
		spec := pricedSpec()
		hot := toyPower
		hot.Compute = 1e9
		spec[0].Supply.Power, spec[0].Stages = &hot, stages
		it := iteration(0, 0, 20, 100, 0, 1, 0, 7)
		it.Stages[0].Start = 0
		busy := 0.02 * 2
		if stages == 2 {
			it.Stages = []cluster.Span{{Start: 0, End: 10 * ms}, {Start: 10 * ms, End: 20 * ms}}
			busy = 0.02 // of each device half
		}
		log := []cluster.Record{{What: cluster.Iterated, At: 20 * ms, Iteration: it}}
		c := measured(Config{Replicas: spec}, log, 20*ms).Summary().Cost
		near(t, "energy", c.EnergyJ, 100*0.02*2+600*busy, 1e-9)
	}
}

// Images are billed when they leave their device, by the steps that they went, and no more than
// the limit for the time that the device was busy.
func TestCostOfImages(t *testing.T) {
	power := toyPower
	power.Kind = hwmodel.ImageWork
	spec := ReplicaSpec{Stages: 1, KVBlocks: 1 << 30, MaxSeqs: 4, BlockTokens: 1, Images: true, Supply: Supply{
		Devices: 1, Power: &power, Images: [][]hwmodel.Exertion{{{Compute: 1e-3, Memory: 2e-3}}},
	}}
	image := &cluster.Served{Request: workloads.Request{ID: 1, Prompt: 1, Output: 10, Class: 1}, Scheduled: 0, First: 10 * ms, Last: 50 * ms, Emitted: 10}
	log := func(busy int) []cluster.Record {
		it := iteration(0, 0, 50, 0, 1, 1, 0, 1)
		it.Stages[0] = cluster.Span{Start: 0, End: 50 * ms}
		if busy < 50 {
			it.Stages[0].End = 10 * ms
		}
		return []cluster.Record{{What: cluster.Arrived, Replica: -1, Request: image}, {What: cluster.Iterated, At: 50 * ms, Iteration: it}, {What: cluster.Finished, At: 50 * ms, Request: image}}
	}
	c := measured(Config{Replicas: []ReplicaSpec{spec}}, log(50), 100*ms).Summary().Cost
	near(t, "joules an image", c.JoulesPerImage, 100*0.1+50*0.05+1000*10e-3+400*20e-3, 1e-9)
	if c.JoulesPerRequest.Exists() || c.JoulesPerToken.Exists() {
		t.Errorf("joules of texts where there are none: %v, %v", c.JoulesPerRequest, c.JoulesPerToken)
	}
	c = measured(Config{Replicas: []ReplicaSpec{spec}}, log(10), 100*ms).Summary().Cost
	near(t, "joules an image at the limit", c.JoulesPerImage, 100*0.1+600*0.01, 1e-9)
}

// One line says it all.
func TestCostLine(t *testing.T) {
	r := measured(Config{Replicas: pricedSpec()}, story(), 100*ms).Summary()
	text := strings.Join(strings.Fields(r.Verdict()), " ")
	want := "cost 0.000056 GPU-hours at 0.00020, 0.00010 a request, 33.3 a million output tokens; 32.3 J, 16.2 J a request, 5.39 J an output token (derived)"
	if !strings.Contains(text, want) {
		t.Errorf("the verdict is\n%s\nand has no line %q", r.Verdict(), want)
	}
}

// What energy adds to the recording of an iteration.
func BenchmarkEnergy(b *testing.B) {
	log := syntheticLog(40_000)
	b.ReportAllocs()
	for b.Loop() {
		m := NewMetrics(Config{Replicas: pricedSpec()})
		for i := range log {
			m.Record(&log[i])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(log)), "ns/record")
}
