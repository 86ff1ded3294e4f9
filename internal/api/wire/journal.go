package wire

// Story is a request to a service, with its journal.
type Story struct {
	Request Request    `json:"request"`
	Journal []Question `json:"journal"`
}

// Question is what a method has asked before its request waited.
type Question struct {
	Path   string `json:"path,omitempty"` // the questions that lead to the method, such as 3.1; "" is the request's own
	Number uint64 `json:"number"`         // 0: the method's beginning
	Asked  string `json:"asked"`
	Answer string `json:"answer"` // ok, absent, pending, failed, refused; waits: there is none yet
	Text   string `json:"text,omitempty"`
	// Start is set where a segment begins with this question: weft requests restart goes
	// back to such a one.
	Start bool `json:"start,omitempty"`
}

// Replay is what the journal of a request has come to with other code.
type Replay struct {
	Request    string      `json:"request"`
	Target     Target      `json:"target"`
	Version    string      `json:"version"` // that the request began on
	State      string      `json:"state"`
	Same       bool        `json:"same"`
	Questions  int         `json:"questions"` // that were compared
	Divergence *Divergence `json:"divergence,omitempty"`
	Failure    string      `json:"failure,omitempty"` // what else has gone wrong
}

// Divergence is where code does not ask what was asked before.
type Divergence struct {
	Method   Target `json:"method"`
	Question uint64 `json:"question"`
	Was      string `json:"was"`
	Now      string `json:"now"`
	Detail   bool   `json:"detail,omitempty"` // it comes with other arguments, or after other writes
}

// Restart begins a request anew.
type Restart struct {
	From    uint64 `json:"from,omitempty"`    // a question of its method: it goes on from the beginning of that segment; 1: from the beginning; 0: the segment that it is in
	Version string `json:"version,omitempty"` // of the app, or "active"; default: the one that it has
}

// Restarted says where a request goes on.
type Restarted struct {
	From uint64 `json:"from"` // the first question that is asked anew
}
