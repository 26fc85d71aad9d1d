package scenarios

import (
	"time"

	"orrery/policies/batch"
	"orrery/policies/route"
)

// This file is how the settings of orders of queues stand in scenarios; the table is in
// names.go.

// order is an order of queues. Its toml tags are its settings.
type order interface {
	// queue returns the order of one replica's queue, nil for that of arrival.
	queue() batch.Order
	// gateway returns that of requests which the router keeps back, nil likewise.
	gateway() batch.Ranking
	// predictor returns what guesses the lengths of answers, nil if nobody asks.
	predictor() route.Predictor
}

// arrivalOrder is the order of arrival.
type arrivalOrder struct{}

func (*arrivalOrder) queue() batch.Order         { return nil }
func (*arrivalOrder) gateway() batch.Ranking     { return nil }
func (*arrivalOrder) predictor() route.Predictor { return nil }

// ranked is an order by a place that each request gets when it begins to wait.
type ranked struct {
	ranking batch.Ranking
	predict func() route.Predictor // nil for none
}

func (o *ranked) queue() batch.Order     { return &batch.ByKey{Ranking: o.ranking} }
func (o *ranked) gateway() batch.Ranking { return o.ranking }

func (o *ranked) predictor() route.Predictor {
	if o.predict == nil {
		return nil
	}
	return o.predict()
}

func meanAnswers() route.Predictor { return &route.MeanByClient{} }

func oracle() route.Predictor { return route.Oracle{} }

// priorityOrder is [batch.Priority] in a scenario.
type priorityOrder struct {
	// Aging is how much longer a request must have waited to go before one of a priority
	// that is one higher; 0 (default): never.
	Aging Duration `toml:"aging"`
}

func (o *priorityOrder) ranking() batch.Priority {
	return batch.Priority{Aging: time.Duration(o.Aging)}
}
func (o *priorityOrder) queue() batch.Order         { return &batch.ByKey{Ranking: o.ranking()} }
func (o *priorityOrder) gateway() batch.Ranking     { return o.ranking() }
func (o *priorityOrder) predictor() route.Predictor { return nil }

// Check returns an error unless the order can be kept.
func (o *priorityOrder) Check() error { return o.ranking().Check() }

// vtcOrder is [batch.VTC] in a scenario. At the gateway, where no service is counted, it
// is the order of arrival.
type vtcOrder struct {
	PromptWeight float64 `toml:"prompt_weight"` // of a prompt token, default 1
	TokenWeight  float64 `toml:"token_weight"`  // of a token of the answer, default 2
}

func (o *vtcOrder) vtc() *batch.VTC {
	return &batch.VTC{PromptWeight: o.PromptWeight, TokenWeight: o.TokenWeight}
}

func (o *vtcOrder) queue() batch.Order         { return o.vtc() }
func (o *vtcOrder) gateway() batch.Ranking     { return nil }
func (o *vtcOrder) predictor() route.Predictor { return nil }

// Check returns an error unless the order can be kept.
func (o *vtcOrder) Check() error { return o.vtc().Check() }
