package app

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // an app file means the same on a machine without time zones

	"github.com/adhocore/gronx"

	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/yamlfile"
)

// TriggerKind is what a trigger waits for.
type TriggerKind string

// The kinds of triggers, named as their keys are.
const (
	TriggerHTTP  TriggerKind = "http"  // a request
	TriggerCron  TriggerKind = "cron"  // times
	TriggerEvent TriggerKind = "event" // a CloudEvent
)

// What a cron trigger does at a time at which its last run has not ended.
const (
	OverlapSkip  = "skip"  // nothing
	OverlapQueue = "queue" // starts the run when the last one has ended
	OverlapAllow = "allow" // starts it beside the last one
)

// What a cron trigger does about the times at which its node was not there.
const (
	MissedSkip = "skip" // nothing
	MissedOnce = "once" // starts one run for all of them
	MissedAll  = "all"  // starts one run for each of them
)

// DefaultWait is how long an HTTP trigger waits for the end of its run.
const DefaultWait = 30 * time.Second

// Bounds of triggers.
const (
	maxWait      = time.Hour
	maxEventType = 1024 // characters
)

// Trigger starts a run of a workflow, or calls a function, when something
// happens. The fields of other kinds than its own are zero.
type Trigger struct {
	Kind TriggerKind

	// Name is unique within the app and stays when the order of triggers
	// changes. Unless the file gives one it is made of what the trigger waits
	// for and starts, so that a trigger that is changed in these is another one.
	Name string

	Method string        // of an HTTP request: GET, POST, PUT, PATCH or DELETE; empty: any
	Path   string        // of an HTTP request; {name} stands for one segment, {name...} at its end for the rest
	Wait   time.Duration // for the end of an HTTP request's run; 0: answer when it has begun; default 30 s

	Cron    string // five fields: minute, hour, day of month, month, day of week
	Zone    string // in which Cron is meant, such as Europe/Berlin; default UTC
	Overlap string // OverlapSkip (the default), OverlapQueue or OverlapAllow
	Missed  string // MissedSkip, MissedOnce (the default) or MissedAll

	Event  string        // a CloudEvents type, or with * at its end the types that begin so
	Filter flow.Template // one expression over .event: false leaves the event alone; absent: all of the type

	Workflow string // what runs; empty: Function is set
	Function string // what an HTTP request calls, with its body as standard input

	// With gives the run's input: of an HTTP request from .body, .headers,
	// .query, .path and .method, of an event from .event; that of a cron
	// trigger is constant. Absent, the input is the request's body, the whole
	// event, or null.
	With flow.Template
	Pos  Pos
}

// triggerDraft is a trigger being read.
type triggerDraft struct {
	Trigger
	kinds []entry // which of http, cron and event it has
}

// triggerTarget is the name of a workflow or a function that a trigger starts.
type triggerTarget struct {
	kind flow.TargetKind
	name string
	at   span
}

// methods are the HTTP methods that a trigger may answer; anyMethod stands for
// all that there are.
var methods = []string{"GET", "POST", "PUT", "PATCH", "DELETE", anyMethod}

const anyMethod = "ANY"

var (
	// route matches a method and a path.
	route = regexp.MustCompile(`^([A-Z]+) (/[A-Za-z0-9._~/{}-]*)$`)
	// segment matches the segment of a path that stands for any one, or at the
	// path's end for the rest.
	segment = regexp.MustCompile(`^\{([A-Za-z_][A-Za-z0-9_]*)(\.\.\.)?\}$`)
	// eventType matches a CloudEvents type: no space and no control character,
	// and * at the end alone.
	eventType = regexp.MustCompile(`^[^\s\pC*]*\*?$`)
)

var triggerFields = []field[triggerDraft]{
	{Name: "name", Read: func(b *builder, n *node, t *triggerDraft) {
		t.Name = b.Pattern(n, functionName, "a name of a-z, 0-9, - and _, beginning with a letter, at most 63 long")
	}},
	{Name: "http", Read: func(b *builder, n *node, t *triggerDraft) {
		if s := b.Text(n, "a method and a path, such as POST /count"); s != "" {
			t.Method, t.Path = b.route(n, s)
		}
	}},
	{Name: "wait", Read: func(b *builder, n *node, t *triggerDraft) { t.Wait = b.Duration(n, 0, maxWait) }},
	{Name: "cron", Read: func(b *builder, n *node, t *triggerDraft) {
		t.Cron = b.Text(n, `five fields such as "0 3 * * *"`)
		switch {
		case t.Cron == "":
		case len(strings.Fields(t.Cron)) != 5 || !gronx.IsValid(t.Cron):
			b.Errorf(n.At, `"0 3 * * *" is every night at three`, "cron: want minute, hour, day of month, month and day of week; found %q", yamlfile.Shorten(t.Cron, 80))
		default:
			if _, err := gronx.NextTickAfter(t.Cron, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), false); err != nil {
				b.Errorf(n.At, "look at the day and the month", "cron: no time is ever %q", yamlfile.Shorten(t.Cron, 80))
			}
		}
	}},
	{Name: "zone", Read: func(b *builder, n *node, t *triggerDraft) {
		t.Zone = b.Text(n, "a time zone, such as Europe/Berlin")
		if t.Zone != "" && !knownZone(t.Zone) {
			b.Errorf(n.At, "zones have names such as UTC, Europe/Berlin and America/New_York", "there is no time zone %q", yamlfile.Shorten(t.Zone, 60))
		}
	}},
	{Name: "overlap", Read: func(b *builder, n *node, t *triggerDraft) {
		t.Overlap = b.Choice(n, "overlap", OverlapSkip, OverlapQueue, OverlapAllow)
	}},
	{Name: "missed", Read: func(b *builder, n *node, t *triggerDraft) {
		t.Missed = b.Choice(n, "missed", MissedSkip, MissedOnce, MissedAll)
	}},
	{Name: "event", Read: func(b *builder, n *node, t *triggerDraft) {
		t.Event = b.Text(n, "a CloudEvents type, such as com.example.order.created")
		if !eventType.MatchString(t.Event) || len(t.Event) > maxEventType {
			b.Errorf(n.At, "for example com.example.order.created, or com.example.order.* for all that begin so",
				"event: want a CloudEvents type, with * at its end alone; found %q", yamlfile.Shorten(t.Event, 80))
		}
	}},
	{Name: "filter", Read: func(b *builder, n *node, t *triggerDraft) {
		if n.Kind != yamlfile.Boolean && !isExpression(n) {
			b.WrongKind(n, "one expression, or true or false", expressionHint(n))
			return
		}
		t.Filter = b.triggerTemplate(n, "filter", TriggerEvent)
	}},
	{Name: "workflow", Read: func(b *builder, n *node, t *triggerDraft) {
		if t.Workflow = b.Text(n, "the name of a workflow"); t.Workflow != "" {
			b.triggers = append(b.triggers, triggerTarget{flow.SubWorkflow, t.Workflow, n.At})
		}
	}},
	{Name: "function", Read: func(b *builder, n *node, t *triggerDraft) {
		if t.Function = b.Text(n, "the name of a function"); t.Function != "" {
			b.triggers = append(b.triggers, triggerTarget{flow.Function, t.Function, n.At})
		}
	}},
	{Name: "with", Null: true, Read: func(b *builder, n *node, t *triggerDraft) {
		if len(t.kinds) == 1 {
			t.With = b.triggerTemplate(n, "with", TriggerKind(t.kinds[0].Name))
		}
	}},
}

// knownZone reports whether there is such a time zone on every machine: the
// local one is another on each.
func knownZone(name string) bool {
	if name == "Local" || len(name) > 64 {
		return false
	}
	_, err := time.LoadLocation(name)
	return err == nil
}

// route reads a method and a path.
func (b *builder) route(n *node, s string) (method, path string) {
	m := route.FindStringSubmatch(s)
	switch {
	case m == nil:
		b.Errorf(n.At, "for example POST /count", "http: want a method and a path; found %q", yamlfile.Shorten(s, 80))
		return "", ""
	case !slices.Contains(methods, m[1]):
		b.Errorf(n.At, yamlfile.DidYouMean(m[1], methods), "unknown HTTP method %q", m[1])
		return "", ""
	}
	parts := strings.Split(m[2][1:], "/")
	names := map[string]bool{}
	for i, part := range parts {
		wrong, hint := "", ""
		last := i == len(parts)-1
		name := segment.FindStringSubmatch(part)
		switch {
		case part == "" && !last:
			wrong, hint = "a segment of the path is empty", "write one / in place of //"
		case part == "." || part == "..":
			wrong, hint = "clients resolve "+part+" in a path before they ask", "write the path without it"
		case !strings.ContainsAny(part, "{}"):
		case name == nil:
			wrong, hint = fmt.Sprintf("%q is no segment of a path; {name} stands for a whole one", yamlfile.Shorten(part, 60)), "for example GET /items/{id}"
		case name[2] != "" && !last:
			wrong, hint = part+" stands for the rest of the path, so nothing comes after it", "write {"+name[1]+"} for one segment"
		case names[name[1]]:
			wrong, hint = "the path has two segments called "+yamlfile.Shorten(name[1], 60), "give each a name of its own"
		default:
			names[name[1]] = true
		}
		if wrong != "" {
			b.Errorf(n.At, hint, "http: %s", wrong)
			return "", ""
		}
	}
	if m[1] == anyMethod {
		m[1] = ""
	}
	return m[1], m[2]
}

// kindOnly says which keys only triggers of one kind have.
var kindOnly = map[string]TriggerKind{
	"wait": TriggerHTTP, "function": TriggerHTTP,
	"zone": TriggerCron, "overlap": TriggerCron, "missed": TriggerCron,
	"filter": TriggerEvent,
}

// readTriggers reads the list of triggers.
func (b *builder) readTriggers(n *node, a *App) {
	names, routes := map[string]Pos{}, map[string]bool{}
	b.List(n, "a list of triggers", func(item *node) {
		t := triggerDraft{Trigger: Trigger{Pos: item.At.Pos}}
		for _, e := range item.Entries {
			switch TriggerKind(e.Name) {
			case TriggerHTTP, TriggerCron, TriggerEvent:
				t.kinds = append(t.kinds, e)
			}
		}
		before := len(b.Errors())
		if !yamlfile.ReadFields(b, item, "trigger", triggerFields, &t) {
			return
		}
		b.checkKind(item, &t)
		if http := item.Get("http"); http != nil && t.Path != "" {
			key := t.Method + " " + anySegment.ReplaceAllString(t.Path, "{$1}")
			if routes[key] {
				b.Errorf(http.At, "", "two triggers answer %s %s", t.Method, t.Path)
			}
			routes[key] = true
		}
		if len(b.Errors()) > before {
			return
		}
		t.setDefaults(item)
		if first, twice := names[t.Name]; twice {
			at, hint := item.At, "remove one of them, or give each a name"
			if name := item.Get("name"); name != nil {
				at, hint = name.At, "give each a name of its own"
			}
			b.Errorf(at, hint, "trigger %s is there twice; first in line %d", t.Name, first.Line)
			return
		}
		names[t.Name] = t.Pos
		a.Triggers = append(a.Triggers, t.Trigger)
	})
}

// anySegment matches what stands for any segment in a path.
var anySegment = regexp.MustCompile(`\{\w*(\.*)\}`)

// checkKind checks which keys stand together, and sets the trigger's kind.
func (b *builder) checkKind(item *node, t *triggerDraft) {
	switch {
	case len(t.kinds) > 1:
		b.Errorf(t.kinds[1].Value.At, "write two triggers", "trigger has both %s and %s", t.kinds[0].Name, t.kinds[1].Name)
		return
	case len(t.kinds) == 0:
		b.Errorf(item.At, "add `http: POST /path`, `cron: \"0 3 * * *\"` or `event: TYPE`", "trigger has none of http, cron and event")
		return
	}
	t.Kind = TriggerKind(t.kinds[0].Name)
	for _, e := range item.Entries {
		if only, ok := kindOnly[e.Name]; ok && only != t.Kind {
			b.Errorf(e.At, "remove it", "%s is for triggers with %s, not %s", e.Name, only, t.Kind)
		}
	}
	workflow, function := item.Get("workflow"), item.Get("function")
	switch {
	case workflow != nil && function != nil:
		b.Errorf(function.At, "write two triggers", "trigger has both workflow and function")
	case workflow == nil && function == nil:
		b.Errorf(item.At, "add `workflow: NAME`", "trigger has no workflow")
	case function != nil && t.Kind == TriggerHTTP:
		if with := item.Get("with"); with != nil {
			b.Errorf(with.At, "start a workflow to build its input", "a function that a trigger calls reads the request's body; it has no with")
		}
		if wait := item.Get("wait"); wait != nil {
			b.Errorf(wait.At, "set the function's timeout", "a function that a trigger calls answers when it is done; it has no wait")
		}
	}
	if t.Kind == TriggerHTTP && t.Function == "" && item.Get("wait") == nil {
		t.Wait = DefaultWait
	}
}

// setDefaults fills in what the file leaves out of a trigger without errors.
func (t *triggerDraft) setDefaults(item *node) {
	if t.Kind == TriggerCron {
		for field, value := range map[*string]string{&t.Zone: "UTC", &t.Overlap: OverlapSkip, &t.Missed: MissedOnce} {
			if *field == "" {
				*field = value
			}
		}
	}
	if t.Name == "" {
		t.Name = t.derivedName(item)
	}
}

// derivedName makes the name of a trigger of what it waits for and starts,
// wherever it stands in the file.
func (t *triggerDraft) derivedName(item *node) string {
	content, label := map[string]any{"http": t.Method + " " + t.Path}, t.Method+t.Path
	if t.Kind != TriggerHTTP {
		content = map[string]any{"cron": strings.Fields(t.Cron), "zone": t.Zone, "event": t.Event, "workflow": t.Workflow}
		for _, key := range []string{"filter", "with"} {
			if n := item.Get(key); n != nil {
				content[key] = n.Plain()
			}
		}
		label = t.Workflow
	}
	data, _ := json.Marshal(content) // all of it is JSON, as YAML without tags is
	sum := sha256.Sum256(data)
	label = strings.Trim(notInName.ReplaceAllString(strings.ToLower(label), "-"), "-")
	return fmt.Sprintf("%s-%s-%s", t.Kind, label[:min(len(label), 40)], hex.EncodeToString(sum[:4]))
}

// notInName matches what a name has no place for.
var notInName = regexp.MustCompile(`[^a-z0-9_]+`)

// checkTriggers reports triggers of workflows and functions that do not exist.
func (b *builder) checkTriggers() {
	known := map[flow.TargetKind][]string{}
	for _, d := range b.workflows {
		known[flow.SubWorkflow] = append(known[flow.SubWorkflow], d.name)
	}
	for _, f := range b.functions {
		known[flow.Function] = append(known[flow.Function], f.name)
	}
	for _, t := range b.triggers {
		if !slices.Contains(known[t.kind], t.name) {
			b.Errorf(t.at, yamlfile.DidYouMean(t.name, known[t.kind]), "there is no %s %q", t.kind, yamlfile.Shorten(t.name, 60))
		}
	}
}
