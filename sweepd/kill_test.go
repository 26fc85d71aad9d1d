package main_test

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// trial is a sweep whose processes are killed.
type trial struct {
	*testing.T
	random  *rand.Rand
	folder  string // of the programs and the results
	address string // of the server
	server  *exec.Cmd
	workers [2]*exec.Cmd
}

// small is a run of some milliseconds.
const small = `
[model]
name = "mistral-7b"
max_len = 8192
[hardware]
device = "a100-pcie-80gb"
engine = "vllm-v1"
[policy]
batch = "vllm-v1"
[traffic]
arrivals = "poisson"
rate = 1.5
lengths = "chat"
requests = 100
`

// Workers are killed at random with SIGKILL while a sweep runs, and the server once. Nothing is
// lost: the tables are the same to the byte as those of a process that nobody disturbed. By
// default 400 runs and 4 kills; ORRERY_KILLS=full is 10,000 runs and 20 kills.
func TestKillsLoseNothing(t *testing.T) {
	runs, kills := 400, 4
	if os.Getenv("ORRERY_KILLS") == "full" {
		runs, kills = 10_000, 20
	} else if testing.Short() {
		t.Skip("takes minutes")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d runs, %d kills", seed, runs, kills)
	p := &trial{T: t, random: rand.New(rand.NewPCG(seed, 0)), folder: t.TempDir(), address: "127.0.0.1:0"}
	p.build()
	p.startServer()
	for i := range p.workers {
		p.startWorker(i)
	}
	t.Cleanup(p.end)

	begun := time.Now()
	sweep := p.orrery(runs, "killed", "--temporal", p.address)
	var said bytes.Buffer
	sweep.Stdout, sweep.Stderr = &said, &said
	p.must(sweep.Start())
	ended := make(chan error, 1)
	go func() { ended <- sweep.Wait() }()
	p.disturb(runs, kills, ended)
	if err := <-ended; err != nil {
		t.Fatalf("the sweep ended with %v:\n%s", err, &said)
	}
	t.Logf("%d runs with %d workers and the server killed in %v", runs, kills, time.Since(begun).Round(time.Second))

	if out, err := p.orrery(runs, "undisturbed", "--engine", "local").CombinedOutput(); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	for _, name := range []string{"runs.csv", "runs.parquet", "summary.csv", "manifest.json"} {
		killed, err := os.ReadFile(filepath.Join(p.folder, "killed", name))
		p.must(err)
		undisturbed, err := os.ReadFile(filepath.Join(p.folder, "undisturbed", name))
		p.must(err)
		if !bytes.Equal(killed, undisturbed) {
			t.Errorf("%s differs from that of a sweep that nobody disturbed", name)
		}
	}
	table, err := os.ReadFile(filepath.Join(p.folder, "killed", "runs.csv"))
	p.must(err)
	if rows := bytes.Count(table, []byte("\n")) - 1; rows != runs {
		t.Errorf("%d rows; want %d", rows, runs)
	}
}

// disturb kills a worker each time that a further part of the runs is done, and the server in
// the middle.
func (p *trial) disturb(runs, kills int, ended chan error) {
	for k := range kills {
		for p.results() < runs*(k+1)/(kills+2) {
			select {
			case err := <-ended:
				ended <- err
				p.Errorf("the sweep ended (%v) after %d of %d kills", err, k, kills)
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
		time.Sleep(time.Duration(p.random.IntN(200)) * time.Millisecond)
		i := p.random.IntN(len(p.workers))
		p.kill(p.workers[i])
		if k == kills/2 {
			p.kill(p.server)
			p.startServer()
		}
		p.startWorker(i)
	}
}

// results counts those that are kept.
func (p *trial) results() int {
	files, err := filepath.Glob(filepath.Join(p.folder, "killed", "results", "*", "*.json"))
	p.must(err)
	return len(files)
}

// build builds both programs and writes the scenario.
func (p *trial) build() {
	for _, args := range [][]string{
		{"build", "-o", p.program("orrery-sweepd"), "."},
		{"build", "-C", "..", "-o", p.program("orrery"), "."},
	} {
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			p.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	p.must(os.WriteFile(p.program("small.toml"), []byte(small), 0o644))
}

func (p *trial) program(name string) string { return filepath.Join(p.folder, name) }

// orrery returns the sweep: eight settings, and as many seeds as make the number of runs.
func (p *trial) orrery(runs int, out string, engine ...string) *exec.Cmd {
	args := []string{"sweep", p.program("small.toml"), "--vary", "traffic.rate=1.0..8.0:8", "--seeds", strconv.Itoa(runs / 8), "--out", filepath.Join(p.folder, out)}
	return exec.Command(p.program("orrery"), append(args, engine...)...)
}

// startServer starts the server, at the address that it had if it had one.
func (p *trial) startServer() {
	p.server = exec.Command(p.program("orrery-sweepd"), "--db", p.program("server/sweep.db"), "--listen", p.address)
	p.server.Stderr = os.Stderr
	out, err := p.server.StdoutPipe()
	p.must(err)
	p.must(p.server.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.Fatalf("the server says nothing: %v", err)
	}
	if _, err := fmt.Sscanf(line, "serving %s", &p.address); err != nil {
		p.Fatalf("the server says %q", line)
	}
}

func (p *trial) startWorker(i int) {
	p.workers[i] = exec.Command(p.program("orrery"), "worker", "--temporal", p.address, "--results", filepath.Join(p.folder, "killed"), "--jobs", "1")
	p.workers[i].Stderr = os.Stderr
	p.must(p.workers[i].Start())
}

// kill is kill -9.
func (p *trial) kill(c *exec.Cmd) {
	p.must(c.Process.Kill())
	_ = c.Wait() // says that it was killed
}

func (p *trial) end() {
	for _, c := range append(p.workers[:], p.server) {
		_ = c.Process.Kill() // may have ended
		_ = c.Wait()
	}
}

func (p *trial) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}
