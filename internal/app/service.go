package app

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/yamlfile"
)

// Bounds of services.
const (
	maxMethods   = 1000
	maxAttempts  = 1000
	maxRetention = 3650 * 24 * time.Hour
)

// Service is state with methods: docs/services.md. What is 0 is as the node says.
type Service struct {
	Name      string
	Code      *Function         // what its instances run: in whatever runtime
	Keyed     bool              // it has an object for each key; otherwise one only
	Methods   []string          // that it has; empty: its code knows
	Callers   *Callers          // who may call it; nil: everybody
	Modes     map[string]string // of the methods that are not ModeExclusive
	Attempts  int               // of a segment before its request is parked; default 5
	Timeout   time.Duration     // that a method may take until it returns or waits; default 10 s
	Retention time.Duration     // of results; default 7 days
	Limits    Limits            // of requests from outside

	Volatile       bool // requests for it, and what they begin, are lost with the node
	ObjectLocks    bool // an object has one lock; otherwise each entry has
	NoTransactions bool // transactions that its methods begin are none

	Pos Pos

	places map[string]Pos // of the methods
}

// MethodPos is where a method is named, or the service where it is not.
func (s *Service) MethodPos(method string) Pos {
	if p, ok := s.places[method]; ok {
		return p
	}
	return s.Pos
}

// How a method uses the state of its object.
const (
	ModeExclusive = "exclusive" // it reads and writes
	ModeShared    = "shared"    // it reads
	ModeSnapshot  = "snapshot"  // it reads, as of one moment, without locks
)

// Words of the switches of a service.
const (
	lockingEntry  = "entry"
	lockingObject = "object"
	switchOn      = "on"
	switchOff     = "off"
)

// shared are the keys that services have in common with functions.
var shared = []string{"runtime", "source", "handler", "args", "env", "memory", "files", "dial", "secrets", "requirements"}

// serviceFields are the keys of a service.
var serviceFields = slices.Concat(codeFields(), []field[Service]{
	{Name: "keyed", Read: func(b *builder, n *node, s *Service) { s.Keyed = b.Boolean(n) }},
	{Name: "methods", Read: (*builder).methods},
	{Name: "callers", Read: func(b *builder, n *node, s *Service) {
		s.Callers = &Callers{}
		yamlfile.ReadFields(b, n, "callers of service "+s.Name, callersFields, s.Callers)
	}},
	{Name: "attempts", Read: func(b *builder, n *node, s *Service) { s.Attempts = b.Integer(n, 1, maxAttempts) }},
	{Name: "timeout", Read: func(b *builder, n *node, s *Service) { s.Timeout = b.Duration(n, minTimeout, maxTimeout) }},
	{Name: "retention", Read: func(b *builder, n *node, s *Service) { s.Retention = b.Duration(n, time.Second, maxRetention) }},
	{Name: "concurrency", Read: func(b *builder, n *node, s *Service) { s.Limits.Concurrency = b.Integer(n, 0, maxParallel) }},
	{Name: "limits", Read: (*builder).limits},
	{Name: "durability", Read: func(b *builder, n *node, s *Service) {
		s.Volatile = b.Choice(n, "durability", DurabilityJournal, DurabilityNone) == DurabilityNone
	}},
	{Name: "locking", Read: func(b *builder, n *node, s *Service) {
		s.ObjectLocks = b.Choice(n, "locking", lockingEntry, lockingObject) == lockingObject
	}},
	{Name: "transactions", Read: func(b *builder, n *node, s *Service) {
		s.NoTransactions = b.Choice(n, "transactions", switchOn, switchOff) == switchOff
	}},
})

// methods reads a list of methods, or a mapping that has their modes.
func (b *builder) methods(n *node, s *Service) {
	s.places = map[string]Pos{}
	add := func(at span, name string) {
		switch {
		case name == "":
		case !pythonHandler.MatchString(name) || strings.Contains(name, ":"):
			b.Errorf(at, "use letters, digits and _", "method name %q is not allowed", yamlfile.Shorten(name, 80))
		case slices.Contains(s.Methods, name):
			b.Errorf(at, "", "method %s is given twice", name)
		default:
			s.Methods = append(s.Methods, name)
			s.places[name] = at.Pos
		}
	}
	if n.Kind == yamlfile.Mapping {
		b.Each(n, "modes of methods", maxMethods, func(e entry) {
			add(e.At, e.Name)
			if mode := b.Choice(e.Value, "mode of method "+e.Name, ModeExclusive, ModeShared, ModeSnapshot); mode != ModeExclusive {
				if s.Modes == nil {
					s.Modes = map[string]string{}
				}
				s.Modes[e.Name] = mode
			}
		})
		return
	}
	b.List(n, "a list of names of methods, or a mapping from them to exclusive, shared or snapshot", func(item *node) {
		add(item.At, b.Text(item, "the name of a method"))
	})
	if len(s.Methods) > maxMethods {
		b.Errorf(n.At, "split the service", "more than %d methods", maxMethods)
	}
}

// codeFields reads the shared keys into the code of a service.
func codeFields() []field[Service] {
	var list []field[Service]
	for _, f := range allFunctionFields {
		if slices.Contains(shared, f.Name) {
			list = append(list, field[Service]{Name: f.Name, Read: func(b *builder, n *node, s *Service) { f.Read(b, n, s.Code) }})
		}
	}
	return list
}

// service reads one entry of services.
func (b *builder) service(e entry) *Service {
	if !functionName.MatchString(e.Name) {
		b.Errorf(e.At, "use a-z, 0-9, - and _, beginning with a letter, at most 63", "service name %q is not allowed", yamlfile.Shorten(e.Name, 80))
	}
	s := &Service{Name: e.Name, Pos: e.At.Pos, Code: &Function{
		Name: e.Name, Runtime: RuntimeWasm, Memory: DefaultMemory, Output: OutputBytes, MaxOutput: DefaultMaxOutput, Pos: e.At.Pos, places: placesOf(e),
	}}
	if !yamlfile.ReadFields(b, e.Value, "service "+e.Name, serviceFields, s) {
		return nil
	}
	b.checkRuntime("service", e, s.Code)
	if n := e.Value.Get("requirements"); n != nil && s.Code.Runtime != RuntimePython {
		b.Errorf(n.At, "remove it, or say `runtime: python`", "requirements is for runtime python; service %s is %s", e.Name, s.Code.Runtime)
	}
	if e.Value.Get("source") == nil {
		b.Errorf(e.At, "add `source: ./"+e.Name+"`", "service %s has no source", e.Name)
	}
	b.checkSecrets(e.Value.Get("secrets"), s.Code)
	b.checkLimits(e.Value, s)
	return s
}

// checkServices refuses names that functions have too: both are built under their
// names.
func (b *builder) checkServices() {
	for _, s := range b.services {
		if slices.ContainsFunc(b.functions, func(f named) bool { return f.name == s.name }) {
			b.Errorf(s.at, "give one of them another name", "%s is a function and a service", yamlfile.Shorten(s.name, 80))
		}
	}
	b.checkCallers()
}

// method finds what a call of a service's method stands for, and says what is
// wrong with it.
func (b *builder) method(workflow string, c callSite) {
	name, method, _ := strings.Cut(c.name, ".")
	i := slices.IndexFunc(b.services, func(s named) bool { return s.name == name })
	if i < 0 {
		var names []string
		for _, s := range b.services {
			names = append(names, s.name)
		}
		b.Errorf(c.at, yamlfile.Nearest(name, names), "there is no service %q", yamlfile.Shorten(name, 80))
		return
	}
	s := b.app.Services[name]
	switch {
	case method == "":
		b.Errorf(c.at, "call SERVICE.METHOD", "call of service %s names no method", name)
	case s != nil && len(s.Methods) > 0 && !slices.Contains(s.Methods, method):
		b.Errorf(c.at, yamlfile.Nearest(method, s.Methods), "service %s has no method %q", name, yamlfile.Shorten(method, 80))
	case s != nil && s.Callers != nil && !s.Callers.Workflows.Has(workflow):
		b.Errorf(c.at, "name it in callers.workflows of the service", "service %s is not for calls of workflow %s", name, workflow)
	}
}

// Units are what an app is built of: the functions, and the code of services, by
// their names, which differ.
func (a *App) Units() map[string]*Function {
	if len(a.Services) == 0 {
		return a.Functions
	}
	all := maps.Clone(a.Functions)
	for name, s := range a.Services {
		all[name] = s.Code
	}
	return all
}
