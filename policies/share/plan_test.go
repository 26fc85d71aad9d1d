package share

import (
	"testing"

	"pgregory.net/rapid"
)

// Whatever a policy asks for, no device is given twice and none is lost, a job has a
// width it can run at, and sharing is mutual.
func TestPlanHandsOutWhatIsThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := View{Types: []Type{{Devices: rapid.IntRange(0, 9).Draw(t, "a")}, {Devices: rapid.IntRange(0, 9).Draw(t, "b")}},
			Together: func(a, b, typ int) (float64, float64) { return 0.5, float64((a + b) % 2) }}
		for range rapid.IntRange(1, 6).Draw(t, "jobs") {
			v.Jobs = append(v.Jobs, Job{Widths: []int{1, 2, 4}, Speed: [][]float64{{1, 2, 3}, {1, 0, 2}}})
		}
		job := rapid.IntRange(0, len(v.Jobs)-1)
		var p Plan
		p.Begin(&v)
		for range rapid.IntRange(0, 40).Draw(t, "wishes") {
			switch rapid.IntRange(0, 3).Draw(t, "wish") {
			case 0, 1:
				p.Give(job.Draw(t, "job"), rapid.IntRange(0, 1).Draw(t, "type"), rapid.IntRange(0, 5).Draw(t, "width"))
			case 2:
				p.Take(job.Draw(t, "job"))
			default:
				p.Join(job.Draw(t, "job"), job.Draw(t, "with"))
			}
			given := []int{0, 0}
			for j, h := range p.Holds {
				if h.With >= 0 {
					if o := p.Holds[h.With]; o.With != j || o.Width != h.Width || o.Type != h.Type {
						t.Fatalf("job %d holds %+v, the other %+v", j, h, o)
					}
					if j < h.With {
						continue
					}
				}
				given[h.Type] += h.Width
			}
			for typ := range given {
				if given[typ]+p.Free(typ) != v.Types[typ].Devices || p.Free(typ) < 0 {
					t.Fatalf("%d of type %d given, %d free, of %d", given[typ], typ, p.Free(typ), v.Types[typ].Devices)
				}
			}
		}
	})
}
