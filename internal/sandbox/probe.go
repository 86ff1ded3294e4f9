package sandbox

import "context"

// State is how well a feature can be used.
type State string

// The states.
const (
	StateOK       State = "ok"       // used as intended
	StateDegraded State = "degraded" // works in part: Fallback says what is used instead
	StateMissing  State = "missing"  // not there: Fallback says what is used instead
)

// Feature is one row of what `weft doctor` prints.
type Feature struct {
	Name     string `json:"name"`               // "user namespaces"
	State    State  `json:"state"`              //
	Detail   string `json:"detail"`             // what was found: "ABI 7", "EPERM"
	Use      string `json:"use"`                // what weft uses it for
	Fallback string `json:"fallback,omitempty"` // what it does without
	Enable   string `json:"enable,omitempty"`   // how to have it, when it is not ok
}

// Report is what a machine gives to weft, tried out and not guessed.
type Report struct {
	Kernel   string    `json:"kernel"`
	Arch     string    `json:"arch"`
	UID      int       `json:"uid"`
	Cores    int       `json:"cores"`
	Memory   int64     `json:"memory"` // bytes
	Features []Feature `json:"features"`
}

// Probe finds out what the machine gives to the user that runs it. It starts a
// few short-lived processes and leaves nothing behind.
func Probe(ctx context.Context) Report { return Report{} }
