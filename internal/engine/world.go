package engine

import (
	"context"
	"io"
	"time"

	"github.com/weft-run/weft/internal/admission"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/telemetry"
)

// World is time, chance and concurrency: the real ones in a node (Real), others
// in the simulator, whose runs have to be the same every time.
type World interface {
	Now() time.Time
	// After calls f once, after d, unless stop is called first.
	After(d time.Duration, f func()) (stop func())
	// Go calls f soon, apart from its caller.
	Go(f func())
	// Random returns 64 random bits.
	Random() uint64
}

// Sandboxes is what calls run in: a *domain.Pool, behind an adapter.
type Sandboxes interface {
	Domain(o domain.Options) (Domain, error)
	// Evaluate computes jq expressions apart from its caller, and tells done.
	Evaluate(ctx context.Context, expressions []string, scope any, done func(values []any, err error))
	// Prepare says that calls of these functions are likely soon.
	Prepare(version string, functions ...*domain.Function)
}

// Domain is the set of sandboxes of one run: a *domain.Domain.
type Domain interface {
	Start(c domain.Call)
	Stop(call uint64)
	Commit(call uint64) (domain.Effects, error)
	Withdraw(call uint64)
	Discard(path string)
	Stuck(calls int) bool
	Break(calls int)
	Restore(slots []domain.Saved) error
	Hold(slot string) (r io.Reader, size int64, release func(), err error)
	Open(slot string) (io.Reader, int64, error)
	Finish()
	Close() error
}

// Blobs keeps what is too large for a record: a *data.Folder. What Save has
// written is on disk when it returns.
type Blobs interface {
	Save(owner, name string, r io.Reader) (int64, error)
	Open(owner, name string) (Blob, int64, error)
	Remove(owner, name string) error
	Drop(owner string) error
	Owners() ([]string, error)
	// Claim gives a run what was uploaded, which others may claim until Spend.
	Claim(upload, owner, name string) (size int64, err error)
	Spend(upload string) error
}

// Blob is an open blob.
type Blob interface {
	io.ReadSeekCloser
	io.ReaderAt
}

// Catalog knows the deployed apps.
type Catalog interface {
	// Program returns a version of an app with its functions built; version ""
	// is the active one. An error that waiting does not mend wraps ErrGone or
	// domain.ErrModule.
	Program(ctx context.Context, app, version string) (*Program, error)
}

// Gate admits calls: an *admission.Gate. Nil admits everything.
type Gate interface {
	Request(d admission.Demand, ready func()) (leave func(), err error)
}

// Logs keeps what functions write to standard error.
type Logs interface {
	Append(run string, line LogLine)
	Drop(run string)
	Runs() ([]string, error) // that have a log
}

// Observer is told what goes on in a run, as it happens. It is called in the
// run's own turn and must not block.
type Observer interface {
	Observe(telemetry.Event)
}

// Meter counts what engines do: a *metrics.Metrics. It is called in the turns of
// runs and must not block.
type Meter interface {
	RunStarted(app, workflow string) // here: not when it goes on after a restart
	RunEnded(app, workflow, status string, took time.Duration)
	StepEnded(status string) // a flow.Status
	// CallEnded is told of every attempt that was given to a sandbox. outcome is
	// OutcomeOK, OutcomeStopped or the kind of its failure; queued is the time from
	// the moment when the machine asked for it until then.
	CallEnded(app, function, outcome string, queued, took time.Duration)
	ModulesLoaded(n int)
	// BufferBytes is told what calls have been handed, how being one of the
	// constants Moved….
	BufferBytes(how string, n int64)
	BytesSaved(n int64) // to Blobs
	JournalBytes(n int) // to the Store
}

// Outcomes of calls that have not failed.
const (
	OutcomeOK      = "ok"
	OutcomeStopped = "stopped" // its result did not matter any longer
)

// How the bytes of a buffer have moved.
const (
	MovedReference = "reference" // the pages of the producer were mapped
	MovedCopied    = "copied"    // too small to be mapped
	MovedFile      = "file"      // through a file, as the app or the run asks for
	MovedSpilled   = "spilled"   // standard output that became a buffer, as it was too long for a message
)

// mappedFrom is the size from which domain hosts map values instead of copying
// them, in bytes.
const mappedFrom = 16 << 10
