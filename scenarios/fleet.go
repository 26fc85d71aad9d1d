package scenarios

import "fmt"

// WithFleet returns the scenario with other numbers of devices in its pools, and without
// its variants. It fails where a class is left without a pool.
func (s *Scenario) WithFleet(counts []int) (*Scenario, error) {
	doc := s.doc.clone()
	doc.drop("compare.variant")
	var sets []string
	for i, n := range counts {
		sets = append(sets, fmt.Sprintf("pool.%s.count=%d", s.Pools[i].Name, n))
	}
	return load(doc, sets)
}
