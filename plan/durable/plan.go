package durable

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"orrery/internal/whole"
	"orrery/plan/sweep"
)

// engineFolder is the folder, within that of a sweep's results, of what is needed to run it only.
const engineFolder = "engine"

// Bounds on what a worker reads.
const (
	chunkCells  = 256       // cells in a chunk of a plan
	maxScenario = 1 << 20   // bytes
	maxChunk    = 300 << 20 // bytes, unpacked: chunkCells scenarios of the greatest size
	maxCells    = 4_000_000 // of a sweep, which is a list of chunks of about 1 MB
)

// plan lists the cells of a sweep in chunks, each named by the hash of its bytes. It is named by
// its own hash in turn, so one hash stands for all.
type plan struct {
	Cells  int      `json:"cells"`
	Chunks []string `json:"chunks"`
}

// planFolder returns the folder of the plans of a sweep. The id must be [hexadecimal].
func planFolder(dir, id string) string { return filepath.Join(dir, engineFolder, "plans", id) }

// writePlan puts the plan of a sweep into a folder and returns its hash.
func writePlan(dir, id string, cells []sweep.Cell) (hash string, err error) {
	folder := planFolder(dir, id)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", whole.Error(folder, err)
	}
	if len(cells) > maxCells {
		return "", fmt.Errorf("a sweep of %d runs; want %d at most, or --shard", len(cells), maxCells)
	}
	p := plan{Cells: len(cells)}
	for from := 0; from < len(cells); from += chunkCells {
		chunk := cells[from:min(from+chunkCells, len(cells))]
		for i := range chunk {
			if len(chunk[i].Scenario) > maxScenario {
				return "", fmt.Errorf("the scenario of run %d has %d bytes; want %d at most for workers", chunk[i].Index, len(chunk[i].Scenario), maxScenario)
			}
		}
		name, err := put(folder, chunk)
		if err != nil {
			return "", err
		}
		p.Chunks = append(p.Chunks, name)
	}
	return put(folder, p)
}

// put writes v into a folder, under the hash of what is written.
func put(folder string, v any) (hash string, err error) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if err := json.NewEncoder(z).Encode(v); err != nil {
		return "", err
	}
	if err := z.Close(); err != nil {
		return "", err
	}
	sum := sha256.Sum256(packed.Bytes())
	hash = hex.EncodeToString(sum[:])
	file := filepath.Join(folder, hash)
	if err := whole.WriteSynced(file, packed.Bytes()); err != nil {
		return "", whole.Error(file, err)
	}
	return hash, nil
}

// get reads what put wrote.
func get(folder, hash string, v any) error {
	if !hexadecimal(hash, 2*sha256.Size) {
		return fmt.Errorf("%.80q is no hash of a plan", hash)
	}
	packed, err := os.ReadFile(filepath.Join(folder, hash))
	if err != nil {
		return fmt.Errorf("a part of the plan is not in the folder of results: %w", err)
	}
	if sum := sha256.Sum256(packed); hex.EncodeToString(sum[:]) != hash {
		return fmt.Errorf("part %.12s of the plan is damaged; run the sweep again", hash)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(z, maxChunk+1))
	switch {
	case err != nil:
		return err
	case len(data) > maxChunk:
		return fmt.Errorf("part %.12s of the plan has more than %d bytes", hash, maxChunk)
	}
	return json.Unmarshal(data, v)
}

// hexadecimal tells whether a text is n lower-case hexadecimal digits, and so safe in a path.
func hexadecimal(text string, n int) bool {
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(text) == n
}

// planReader reads spans of plans, and keeps the chunks that were asked for last. It is safe for
// concurrent use.
type planReader struct {
	dir string

	mu     sync.Mutex
	hash   string // of plan
	plan   plan
	chunks []keptChunk // the oldest first
}

type keptChunk struct {
	hash  string
	cells []sweep.Cell
}

// keptChunks is how many chunks are kept: concurrent activities are at neighbouring places.
const keptChunks = 4

// cells returns those of a span of a sweep's plan.
func (r *planReader) cells(id, hash string, s Span) ([]sweep.Cell, error) {
	if !hexadecimal(id, idDigits) {
		return nil, fmt.Errorf("%.80q is no sweep", id)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	folder := planFolder(r.dir, id)
	if r.hash != hash {
		var p plan
		if err := get(folder, hash, &p); err != nil {
			return nil, err
		}
		r.hash, r.plan = hash, p
	}
	if s.From < 0 || s.N < 1 || s.N > maxBatch || s.From > min(r.plan.Cells, chunkCells*len(r.plan.Chunks))-s.N {
		return nil, fmt.Errorf("a span of %d runs from %d; the plan has %d", s.N, s.From, r.plan.Cells)
	}
	var cells []sweep.Cell
	for i := s.From / chunkCells; i*chunkCells < s.From+s.N; i++ {
		chunk, err := r.chunk(folder, r.plan.Chunks[i])
		if err != nil {
			return nil, err
		}
		from, to := max(0, s.From-i*chunkCells), min(len(chunk), s.From+s.N-i*chunkCells)
		if from >= to {
			return nil, fmt.Errorf("part %.12s of the plan has %d runs; want more", r.plan.Chunks[i], len(chunk))
		}
		cells = append(cells, chunk[from:to]...)
	}
	return cells, nil
}

func (r *planReader) chunk(folder, hash string) ([]sweep.Cell, error) {
	for _, c := range r.chunks {
		if c.hash == hash {
			return c.cells, nil
		}
	}
	var cells []sweep.Cell
	if err := get(folder, hash, &cells); err != nil {
		return nil, err
	}
	if len(r.chunks) == keptChunks {
		r.chunks = r.chunks[1:]
	}
	r.chunks = append(r.chunks, keptChunk{hash, cells})
	return cells, nil
}
