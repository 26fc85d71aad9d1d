package cmd

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// patience is how long a command may take before it shows how far it is.
const patience = time.Second

// progress is a bar on standard error. It appears when a command has taken longer
// than [patience], and only on a terminal.
type progress struct {
	mu    sync.Mutex
	bar   *progressbar.ProgressBar
	w     io.Writer
	what  string
	begun time.Time
	on    bool
}

// newProgress returns a bar about what is being done.
func (a *app) newProgress(what string) *progress {
	f, ok := a.err.(*os.File)
	return &progress{w: a.err, what: what, begun: time.Now(), on: ok && !a.quiet && term.IsTerminal(int(f.Fd()))}
}

// set shows that done of about total are done. It may be called from several goroutines.
func (p *progress) set(done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.on || total <= 0 || time.Since(p.begun) < patience {
		return
	}
	if p.bar == nil {
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(p.w), progressbar.OptionSetDescription(p.what), progressbar.OptionSetWidth(30),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
			// The bar begins late, so its own idea of the speed would be wrong.
			progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false),
		)
	}
	if p.bar.GetMax64() != total {
		p.bar.ChangeMax64(total)
	}
	// A bar that cannot be drawn is no reason to stop.
	_ = p.bar.Set64(min(done, total))
}

// end takes the bar away.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	p.on = false
}
