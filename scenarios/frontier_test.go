package scenarios

import "testing"

// As the load grows, fewer images get ten evaluations and more get five, and some are late.
func TestLadderGivesStepsUpAsLoadGrows(t *testing.T) {
	var best, five, late []int64
	for _, rate := range []string{"4.0", "11.0", "16.0"} {
		s, err := Load("images-frontier", "traffic.rate="+rate, "traffic.requests=1000")
		if err != nil {
			t.Fatal(err)
		}
		r, _, err := Run(t.Context(), s, 1, Options{})
		if err != nil {
			t.Fatal(err)
		}
		c := &r.Classes[0]
		best, five, late = append(best, at(c.Rungs, 0)), append(five, at(c.Rungs, 5)), append(late, c.Missed)
	}
	if best[0] != 1000 || best[1] >= best[0] || best[2] >= best[1] || five[0] != 0 || five[1] == 0 || five[2] <= five[1] {
		t.Errorf("at ten evaluations %v, at five %v, late %v", best, five, late)
	}
}

// at returns how many images were made at a rung; the list ends with the last that made any.
func at(rungs []int64, i int) int64 {
	if i >= len(rungs) {
		return 0
	}
	return rungs[i]
}
