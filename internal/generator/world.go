package generator

import (
	"go/types"
	"slices"
	"strings"
)

// Reasons and what to do instead.
const (
	clock   = "the clock shows something else when the method is run again; use service.Now, service.Sleep and service.After"
	chance  = "it is something else when the method is run again; use service.Rand or service.UUID"
	effect  = "what it does is seen outside, and would be done again; do it in service.Run"
	threads = "a method has one goroutine, and its state is locked for it"
	address = "addresses are others in each instance"
	order   = "it has another order each time"
	compile = "what it does cannot be seen, and no WebAssembly module can have it"
)

// world says why something of another package does not belong into a method, ""
// if it does.
func world(o types.Object) string {
	p, name := path(o), o.Name()
	_, isFunc := o.(*types.Func)
	_, isVar := o.(*types.Var)
	topLevel := isFunc && receiver(o.(*types.Func)) == nil || isVar && isGlobal(o)
	in := func(names ...string) bool { return slices.Contains(names, name) }
	of := func(names ...string) bool {
		return isFunc && receiver(o.(*types.Func)) != nil && slices.Contains(names, receiver(o.(*types.Func)).Name())
	}
	switch {
	case p == "sync" || strings.HasPrefix(p, "sync/") || strings.HasPrefix(p, "golang.org/x/sync/"):
		return threads
	case p == "unsafe", p == "reflect" && in("Pointer", "UnsafePointer", "UnsafeAddr", "UnsafeSlice"), p == "weak":
		return address
	case p == "reflect" && (in("MapKeys", "MapRange", "Seq", "Seq2") && of("Value") || of("MapIter")), p == "encoding/gob" && name == "NewEncoder":
		return order
	case p == "reflect" && in("Select", "MakeChan", "Send", "Recv", "TrySend", "TryRecv"), p == "context" && in("AfterFunc"), p == "plugin":
		return threads
	case p == "C":
		return compile
	case p == "net" && of("Dialer", "ListenConfig", "Resolver"), p == "net/http" && of("Client", "Server", "Transport"), p == "os/exec" && of("Cmd"):
		return effect
	case !topLevel:
		return ""
	case p == "time" && in("Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Local", "LoadLocation"),
		p == "context" && (strings.HasPrefix(name, "WithTimeout") || strings.HasPrefix(name, "WithDeadline")):
		return clock
	case strings.HasPrefix(p, "crypto/") && strings.HasPrefix(name, "GenerateKey"),
		p == "math/rand" && !in("New", "NewSource", "NewZipf"),
		p == "math/rand/v2" && !in("New", "NewPCG", "NewChaCha8", "NewZipf"),
		p == "crypto/rand", p == "hash/maphash",
		p == "github.com/google/uuid" && strings.HasPrefix(name, "New") && !in("NewSHA1", "NewMD5", "NewHash"),
		strings.HasPrefix(p, "github.com/gofrs/uuid") && in("NewV1", "NewV4", "NewV6", "NewV7"), p == "github.com/rs/xid" && in("New", "NewWithTime"),
		strings.HasPrefix(p, "github.com/oklog/ulid") && in("Make", "Now"), p == "github.com/segmentio/ksuid" && in("New", "NewRandom"):
		return chance
	case p == "log" && strings.HasPrefix(name, "Fatal"), p == "flag", p == "expvar",
		p == "fmt" && (strings.HasPrefix(name, "Print") || strings.HasPrefix(name, "Scan")),
		p == "os" && !in("Stderr") || strings.HasPrefix(p, "os/"), p == "io/ioutil", p == "syscall", strings.HasPrefix(p, "golang.org/x/sys/"),
		p == "net" || strings.HasPrefix(p, "net/") && p != "net/url" && p != "net/netip" && p != "net/mail" && p != "net/textproto" && p != "net/http",
		p == "net/http" && !in("StatusText", "CanonicalHeaderKey", "DetectContentType"),
		p == "database/sql", p == "path/filepath" && in("Abs", "EvalSymlinks", "Glob", "Walk", "WalkDir"),
		p == "runtime" || p == "runtime/debug":
		return effect
	}
	return ""
}
