package replay

import (
	"math"
	"net/url"

	"orrery/calibrate"
	"orrery/report"
)

// MeasurementFile is the file of a result folder from which calibration fits iterations.
const MeasurementFile = "measurement.txt"

// Measured returns the run as a measurement: the times of every request that was
// answered in full. The scenario tells on which device, and by which policy, the server is
// thought to run; no client can see them.
func (o *Outcome) Measured(device, model, policy string, r *report.Result) *calibrate.Measured {
	m := &calibrate.Measured{Facts: []calibrate.Fact{
		{Key: "tool", Value: "orrery replay " + r.Version},
		{Key: "date", Value: r.Measurement.Began},
		{Key: "target", Value: withoutUser(r.Measurement.Target)},
		{Key: "api", Value: r.Measurement.API},
		{Key: "policy", Value: policy},
		{Key: "clock", Value: "client; arrival_s is when a request was due, queued_s when it was sent"},
	}}
	for _, d := range r.Flags {
		m.Facts = append(m.Facts, calibrate.Fact{Key: "doubt", Value: d})
	}
	for _, a := range o.Answers {
		if a.Failure != None {
			continue
		}
		t := calibrate.Timing{
			GPU: device, Model: model, Request: a.ID, Arrival: a.Arrived.Seconds(), Prompt: int(a.Prompt), Output: int(a.Tokens()),
			Queued: a.Sent.Seconds(), Scheduled: math.NaN(), First: a.Chunks[0].Seconds(), Last: a.Chunks[len(a.Chunks)-1].Seconds(),
		}
		if a.Usage {
			t.Prompt = int(max(a.PromptTokens, 1))
		}
		m.Requests = append(m.Requests, t)
	}
	return m
}

// withoutUser takes a password out of an address.
func withoutUser(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return u.Redacted()
}
