package app

import (
	"regexp"
	"slices"
	"strings"

	"github.com/adhocore/gronx"
)

// Trigger starts a run of a workflow on a request or at times.
type Trigger struct {
	Method, Path string // of an HTTP request; empty: Cron is set
	Cron         string // five fields: minute, hour, day of month, month, day of week
	Workflow     string
	With         any // the run's input; nil: the request's body, or null
	Pos          Pos
}

// triggerTarget is the name of a workflow that a trigger starts.
type triggerTarget struct {
	name string
	at   span
}

// methods are the HTTP methods that a trigger may answer.
var methods = []string{"GET", "POST", "PUT", "PATCH", "DELETE"}

// route matches a method and a path, in which {name} stands for one segment.
var route = regexp.MustCompile(`^([A-Z]+) (/[A-Za-z0-9._~/{}-]*)$`)

var triggerFields = []field[Trigger]{
	{"http", func(b *builder, n *node, t *Trigger) {
		s := b.text(n, "a method and a path, such as POST /count")
		if s == "" {
			return
		}
		m := route.FindStringSubmatch(s)
		switch {
		case m == nil:
			b.errorf(n.at, "for example POST /count", "http: want a method and a path; found %q", shorten(s, 80))
		case !slices.Contains(methods, m[1]):
			b.errorf(n.at, didYouMean(m[1], methods), "unknown HTTP method %q", m[1])
		default:
			t.Method, t.Path = m[1], m[2]
		}
	}},
	{"cron", func(b *builder, n *node, t *Trigger) {
		t.Cron = b.text(n, `five fields such as "0 3 * * *"`)
		if t.Cron != "" && (len(strings.Fields(t.Cron)) != 5 || !gronx.IsValid(t.Cron)) {
			b.errorf(n.at, `"0 3 * * *" is every night at three`, "cron: want minute, hour, day of month, month and day of week; found %q", shorten(t.Cron, 80))
		}
	}},
	{"workflow", func(b *builder, n *node, t *Trigger) {
		t.Workflow = b.text(n, "the name of a workflow")
		if t.Workflow != "" {
			b.triggers = append(b.triggers, triggerTarget{t.Workflow, n.at})
		}
	}},
	{"with", func(b *builder, n *node, t *Trigger) { t.With = n.value() }},
}

// readTriggers reads the list of triggers.
func (b *builder) readTriggers(n *node, a *App) {
	routes := map[string]bool{}
	b.list(n, "a list of triggers", func(item *node) {
		t := Trigger{Pos: item.at.Pos}
		if !readFields(b, item, "trigger", triggerFields, &t) {
			return
		}
		http, cron := item.get("http"), item.get("cron")
		switch {
		case http != nil && cron != nil:
			b.errorf(cron.at, "write two triggers", "trigger has both http and cron")
		case http == nil && cron == nil:
			b.errorf(item.at, "add `http: POST /path` or `cron: \"0 3 * * *\"`", "trigger has neither http nor cron")
		}
		if item.get("workflow") == nil {
			b.errorf(item.at, "add `workflow: NAME`", "trigger has no workflow")
		}
		if key := t.Method + " " + t.Path; t.Path != "" {
			if routes[key] {
				b.errorf(http.at, "", "two triggers answer %s", key)
			}
			routes[key] = true
		}
		a.Triggers = append(a.Triggers, t)
	})
}

// checkTriggers reports triggers of workflows that do not exist.
func (b *builder) checkTriggers() {
	var known []string
	for _, d := range b.workflows {
		known = append(known, d.name)
	}
	for _, t := range b.triggers {
		if !slices.Contains(known, t.name) {
			b.errorf(t.at, didYouMean(t.name, known), "there is no workflow %q", shorten(t.name, 60))
		}
	}
}
