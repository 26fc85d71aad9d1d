package durable

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"
)

// world stands in for server and workers: it counts which cells were run, and takes each for a
// second of work.
type world struct {
	mu      sync.Mutex  // activities run at the same time
	ran     map[int]int // times, by cell
	batches []int       // sizes
	gaveUp  []int
	fail    func(Span) error
}

func (w *world) run(_ context.Context, work Work) (Done, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		if err := w.fail(work.Span); err != nil {
			return Done{}, err
		}
	}
	for i := range work.Span.N {
		w.ran[work.Span.From+i]++
	}
	w.batches = append(w.batches, work.Span.N)
	return Done{Seconds: float64(work.Span.N), Worker: Seen{"one", 4}}, nil
}

func (w *world) giveUp(_ context.Context, work Work) (Done, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gaveUp = append(w.gaveUp, work.Span.From)
	return Done{Failed: work.Span.N, Worker: Seen{"one", 4}}, nil
}

// play runs a sweep, with all that it continues as, to its end.
func (w *world) play(t *testing.T, in Input) (p Progress, episodes int, err error) {
	t.Helper()
	w.ran = make(map[int]int)
	for {
		episodes++
		var suite testsuite.WorkflowTestSuite
		suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
		env := suite.NewTestWorkflowEnvironment()
		env.SetTestTimeout(time.Minute)
		var a *activities
		env.RegisterActivity(a.RunSpan)
		env.RegisterActivity(a.GiveUp)
		env.OnActivity(a.RunSpan, mock.Anything, mock.Anything).Return(w.run)
		env.OnActivity(a.GiveUp, mock.Anything, mock.Anything).Return(w.giveUp)
		env.RegisterWorkflow(Sweep)
		env.ExecuteWorkflow(Sweep, in)
		err = env.GetWorkflowError()
		var again *workflow.ContinueAsNewError
		if errors.As(err, &again) {
			in = continued(t, again)
			continue
		}
		if err == nil {
			err = env.GetWorkflowResult(&p)
		}
		return p, episodes, err
	}
}

// Every cell is run exactly once where nothing fails, however often the workflow begins anew, and
// batches grow to what they should be worth.
func TestSweepRunsEveryCellOnce(t *testing.T) {
	const cells = 1000
	var w world
	p, episodes, err := w.play(t, Input{Cells: cells, Pace: Pace{Batch: 10 * time.Second, MaxActivities: 40}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range cells {
		if w.ran[i] != 1 {
			t.Errorf("cell %d ran %d times; want once", i, w.ran[i])
		}
	}
	if p.Done != cells || p.Activities != len(w.batches) || p.Workers != 1 || p.Slots != 4 {
		t.Errorf("progress %+v; want %d done in %d activities by one worker of four slots", p, cells, len(w.batches))
	}
	if least := len(w.batches) / 40; episodes <= least {
		t.Errorf("%d episodes for %d activities; want more than %d", episodes, len(w.batches), least)
	}
	largest := 0
	for _, n := range w.batches {
		largest = max(largest, n)
	}
	if w.batches[0] != 1 || largest != 10 {
		t.Errorf("batches from %d to %d cells of a second; want from 1 to 10", w.batches[0], largest)
	}
}

// A cell that kills every worker that runs it is found, given up, and all others have results.
func TestSweepFindsTheCellThatKillsWorkers(t *testing.T) {
	const cells, poison = 300, 217
	w := world{fail: func(s Span) error {
		if s.From <= poison && poison < s.From+s.N {
			return temporal.NewTimeoutError(enumspb.TIMEOUT_TYPE_HEARTBEAT, nil)
		}
		return nil
	}}
	p, _, err := w.play(t, Input{Cells: cells})
	if err != nil {
		t.Fatal(err)
	}
	if len(w.gaveUp) != 1 || w.gaveUp[0] != poison {
		t.Errorf("gave up %v; want %d alone", w.gaveUp, poison)
	}
	for i := range cells {
		if want := 1; i != poison && w.ran[i] != want {
			t.Errorf("cell %d ran %d times; want once", i, w.ran[i])
		}
	}
	if p.Done != cells || p.Failed != 1 {
		t.Errorf("progress %+v; want all %d done, one failed", p, cells)
	}
}

// A worker that is stopped hands its span back, and it is run elsewhere.
func TestSweepHandsOutAgainWhatAStoppedWorkerHad(t *testing.T) {
	stops := 3
	w := world{fail: func(Span) error {
		if stops > 0 {
			stops--
			return temporal.NewNonRetryableApplicationError("", stopped, nil)
		}
		return nil
	}}
	p, _, err := w.play(t, Input{Cells: 50})
	if err != nil || p.Done != 50 || p.Lost != 0 || len(w.ran) != 50 {
		t.Errorf("%+v, %v, %d ran; want 50 done, none lost", p, err, len(w.ran))
	}
}

// Results that cannot be kept end the sweep with the reason.
func TestSweepEndsWhenResultsCannotBeKept(t *testing.T) {
	w := world{fail: func(s Span) error {
		if s.From > 20 {
			return errors.New("the disk is full")
		}
		return nil
	}}
	_, _, err := w.play(t, Input{Cells: 500})
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Message() != "the disk is full" {
		t.Errorf("%v; want that the disk is full", err)
	}
}
