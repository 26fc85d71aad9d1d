package scenarios

import (
	"sync"

	"orrery/hwmodel"
)

// profiles has the profiles of the program's own devices that were read so far, by name: to read
// one takes longer, 5 ms, than all else that a scenario needs, and a sweep has thousands of
// scenarios. They are shared, so nobody may change them.
var profiles sync.Map

// loadProfile returns the profile of a device that comes with the program.
func loadProfile(name string) (*hwmodel.Profile, error) {
	if p, ok := profiles.Load(name); ok {
		return p.(*hwmodel.Profile), nil
	}
	p, err := hwmodel.Load(name)
	if err != nil {
		return nil, err
	}
	shared, _ := profiles.LoadOrStore(name, p)
	return shared.(*hwmodel.Profile), nil
}
