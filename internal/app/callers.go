package app

import (
	"slices"

	"github.com/weft-run/weft/internal/yamlfile"
)

// Callers are those that may call a service. It may always call itself.
type Callers struct {
	Services  Group // of the app, by name
	Workflows Group // of the app, by name: steps of them
	Outside   Group // who comes over the API, by the name of the token
}

// Group is some of all that there are.
type Group struct {
	All   bool
	Names []string // if not All
}

// Has reports whether a name belongs to the group.
func (g Group) Has(name string) bool { return g.All || slices.Contains(g.Names, name) }

// Words in place of a list of names.
const (
	groupAll  = "all"
	groupNone = "none"
)

// callersFields are the keys of callers. What is not given is none.
var callersFields = []field[Callers]{
	{Name: "services", Read: func(b *builder, n *node, c *Callers) { c.Services = b.group(n, "service") }},
	{Name: "workflows", Read: func(b *builder, n *node, c *Callers) { c.Workflows = b.group(n, "workflow") }},
	{Name: "outside", Read: func(b *builder, n *node, c *Callers) { c.Outside = b.group(n, "token") }},
}

// group reads all, none, or a list of names. Those of services and workflows are looked
// up when all are known.
func (b *builder) group(n *node, what string) (g Group) {
	if n.Kind == yamlfile.String {
		g.All = b.Choice(n, "group", groupAll, groupNone) == groupAll
		return g
	}
	b.List(n, "all, none, or a list of names", func(item *node) {
		name := b.Text(item, "the name of a "+what)
		switch {
		case name == "":
		case slices.Contains(g.Names, name):
			b.Errorf(item.At, "", "%s is given twice", yamlfile.Shorten(name, 80))
		default:
			g.Names = append(g.Names, name)
			b.mentions = append(b.mentions, mention{what, name, item.At})
		}
	})
	return g
}

// mention is a name in callers.
type mention struct {
	what, name string
	at         span
}

// checkCallers refuses names that there are not. Tokens are the node's.
func (b *builder) checkCallers() {
	known := map[string][]string{}
	for _, s := range b.services {
		known["service"] = append(known["service"], s.name)
	}
	for _, w := range b.workflows {
		known["workflow"] = append(known["workflow"], w.name)
	}
	for _, m := range b.mentions {
		if m.what != "token" && !slices.Contains(known[m.what], m.name) {
			b.Errorf(m.at, yamlfile.Nearest(m.name, known[m.what]), "there is no %s %q", m.what, yamlfile.Shorten(m.name, 80))
		}
	}
}
