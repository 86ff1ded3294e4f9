package wire

import (
	"encoding/json"
	"time"
)

// HeaderRetention says in the answer to a call of a service with an idempotency key how
// long that is recognised after its end, as a duration such as 168h0m0s.
const HeaderRetention = "Weft-Retention"

// HeaderTimeout of a call is the time, such as 5s, after which it is ended if it has not ended by
// itself.
const HeaderTimeout = "Weft-Timeout"

// HeaderDurability says in the answer to a call of a service what becomes of it if the
// node dies: DurabilityFlushed or DurabilityNone.
const HeaderDurability = "Weft-Durability"

// The durabilities of an answer.
const (
	DurabilityFlushed = "flushed" // it is on disk, with all that it has seen
	DurabilityNone    = "none"    // it may be lost
)

// Service is a service of an app's active version.
type Service struct {
	App     string   `json:"app"`
	Service string   `json:"service"`
	Runtime string   `json:"runtime"`
	Keyed   bool     `json:"keyed"`             // it has an object for each key
	Methods []string `json:"methods,omitempty"` // if the app file names them
	// Switches are what the app file has otherwise than by default, such as "durability: none".
	Switches []string `json:"switches,omitempty"`
	// Modes are those of the methods that only read: shared or snapshot.
	Modes  map[string]string `json:"modes,omitempty"`
	Open   int               `json:"open"`   // requests that have not ended, those of other versions included
	Parked int               `json:"parked"` // of them, those that are not tried any more
}

// Sent answers a call that nobody waits for.
type Sent struct {
	Request string `json:"request"` // its ID
}

// Target is a method of an object of a service.
type Target struct {
	App     string `json:"app"`
	Service string `json:"service"`
	Object  string `json:"object,omitempty"`
	Method  string `json:"method"`
}

// String is the target as people write it.
func (t Target) String() string {
	s := t.App + "/" + t.Service
	if t.Object != "" {
		s += "/" + t.Object
	}
	return s + "." + t.Method
}

// Request is a request to a service that has not ended.
type Request struct {
	ID          string     `json:"id"`
	Target      Target     `json:"target"`
	Version     string     `json:"version"`
	State       string     `json:"state"`            // queued, delayed, running, waiting, retrying, parked
	Parked      string     `json:"parked,omitempty"` // why it is not tried any more
	Parent      string     `json:"parent,omitempty"` // the request that has begun it
	Root        string     `json:"root,omitempty"`   // the request from outside that it goes back to, if that is another one
	Began       time.Time  `json:"began"`
	Due         *time.Time `json:"due,omitempty"`      // when it begins, of a delayed one
	Deadline    *time.Time `json:"deadline,omitempty"` // when it is ended if it has not by itself
	Attempt     int        `json:"attempt"`
	Failures    int        `json:"failures,omitempty"` // of the segment that it is in
	Failure     string     `json:"failure,omitempty"`  // the latest one, of a request that is tried again
	Calls       []Target   `json:"calls,omitempty"`    // its methods that run, each called by the one before
	Transaction bool       `json:"transaction"`        // one is open
	Writes      int        `json:"writes"`             // that nobody sees yet
	Held        int        `json:"held"`               // locks
	Waits       string     `json:"waits,omitempty"`    // the place whose lock it waits for
	Awaits      []Await    `json:"awaits,omitempty"`   // what it waits for when its state is waiting
}

// CancelRequest says why a request is cancelled.
type CancelRequest struct {
	Reason string `json:"reason,omitempty"`
	Family bool   `json:"family,omitempty"` // with all others that go back to the same one from outside
}

// Await is something that a request waits for: one of these.
type Await struct {
	Promise string     `json:"promise,omitempty"`
	Request string     `json:"request,omitempty"` // that it has begun
	Until   *time.Time `json:"until,omitempty"`
}

// Lock is a lock that a request has or waits for.
type Lock struct {
	Place   string   `json:"place"` // app/service/object: field, or field[entry]; field[*] is which entries there are
	Request string   `json:"request"`
	Target  Target   `json:"target"` // of the request
	Mode    string   `json:"mode"`   // shared or exclusive
	Waiting bool     `json:"waiting"`
	For     []string `json:"for,omitempty"` // the requests that it waits for
}

// Place is a place in the state of a service.
type Place struct {
	Object string          `json:"object,omitempty"`
	Field  string          `json:"field"`
	Entry  *string         `json:"entry,omitempty"` // of a map
	Value  json.RawMessage `json:"value,omitempty"` // if it is JSON
	Bytes  []byte          `json:"bytes,omitempty"` // if it is not
}
