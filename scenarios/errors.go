package scenarios

import "fmt"

// Error says in one line what is wrong with a scenario, where, and what would be
// right. It is the user's to put right: a command that meets one exits with 2.
type Error struct {
	File string // file, or the override, that is wrong
	Line int    // in the file, from 1; 0 if no line is to blame
	Msg  string
	Err  error // what was found by a package below, may be nil
}

// Error returns the message behind file and line.
func (e *Error) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg)
	}
	return e.File + ": " + e.Msg
}

// Unwrap returns the error of a package below.
func (e *Error) Unwrap() error { return e.Err }
