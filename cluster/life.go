package cluster

// State is how far a replica has come in its life.
type State uint8

// The states of a replica.
const (
	Up       State = iota // serves
	Starting              // has its devices, and loads its model
	Draining              // ends what it has begun, and takes nothing new
	Off                   // has no devices
	Down                  // has failed; its devices are lost until it is started again
)

// String returns the state's name as it stands in logs.
func (s State) String() string {
	return [...]string{"up", "starting", "draining", "off", "down"}[s]
}
