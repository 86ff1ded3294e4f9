package trigger

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Route is what a request is matched against.
type Route struct {
	Method string // upper case; empty: any. GET answers HEAD too
	// Path begins with a slash. A segment is literal, {name}, which stands for one
	// segment that is not empty, or, at the end, {name...}, which stands for the
	// rest, the empty one included. A path that ends in a slash is another path than
	// the one without.
	Path  string
	Index int // what Match gives
}

func (r Route) String() string { return strings.TrimPrefix(r.Method+" "+r.Path, " ") }

// Routes finds the route of a request. It is never changed and may be used by
// many goroutines.
type Routes struct{ root *segment }

// segment is a place in the tree of paths: the segments that may follow it and
// the routes that end there, by method.
type segment struct {
	literal map[string]*segment
	param   *segment
	rest    map[string]endpoint
	ends    map[string]endpoint
}

// endpoint is a route with the names of its parameters, in order.
type endpoint struct {
	route Route
	names []string
}

var (
	methodRule = regexp.MustCompile(`^[A-Z]*$`)
	paramRule  = regexp.MustCompile(`^\{([A-Za-z_][A-Za-z0-9_]*)(\.\.\.)?\}$`)
)

// NewRoutes builds the tree of routes. It reports, all at once, paths that are
// malformed and routes that answer the same requests: same method, and paths that
// differ in nothing but the names of parameters.
func NewRoutes(routes []Route) (*Routes, error) {
	root := &segment{}
	var errs []error
	for _, r := range routes {
		if err := root.add(r); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Routes{root}, nil
}

// add puts a route into the tree.
func (s *segment) add(r Route) error {
	if !methodRule.MatchString(r.Method) {
		return fmt.Errorf("route %s: the method is not in capital letters", r)
	}
	if !strings.HasPrefix(r.Path, "/") {
		return fmt.Errorf("route %s: the path does not begin with a slash", r)
	}
	e := endpoint{route: r}
	parts := strings.Split(r.Path[1:], "/")
	for i, part := range parts {
		last := i == len(parts)-1
		if !strings.ContainsAny(part, "{}") {
			switch {
			case part == "" && !last:
				return fmt.Errorf("route %s: a segment is empty", r)
			case part == "." || part == "..":
				return fmt.Errorf("route %s: clients resolve the segment %q before they ask", r, part)
			}
			s = s.next(part)
			continue
		}
		m := paramRule.FindStringSubmatch(part)
		switch {
		case m == nil:
			return fmt.Errorf("route %s: %q is no parameter; a whole segment is {name}, or {name...} at the end", r, part)
		case slices.Contains(e.names, m[1]):
			return fmt.Errorf("route %s: two parameters are called %s", r, m[1])
		case m[2] != "" && !last:
			return fmt.Errorf("route %s: %s is not at the end", r, part)
		}
		e.names = append(e.names, m[1])
		if m[2] != "" {
			return put(&s.rest, e)
		}
		if s.param == nil {
			s.param = &segment{}
		}
		s = s.param
	}
	return put(&s.ends, e)
}

// next gives the place after a literal segment.
func (s *segment) next(part string) *segment {
	n := s.literal[part]
	if n == nil {
		n = &segment{}
		if s.literal == nil {
			s.literal = map[string]*segment{}
		}
		s.literal[part] = n
	}
	return n
}

// put adds an endpoint where none of its method is.
func put(at *map[string]endpoint, e endpoint) error {
	if other, ok := (*at)[e.route.Method]; ok {
		return fmt.Errorf("routes %s and %s answer the same requests; change or remove one", other.route, e.route)
	}
	if *at == nil {
		*at = map[string]endpoint{}
	}
	(*at)[e.route.Method] = e
	return nil
}

// Match finds the route of a request and the values of its parameters (nil: it
// has none). The path is escaped, as (*url.URL).EscapedPath gives it, so that a
// parameter may hold a slash that was sent as %2F; values are not escaped.
//
// The most specific route wins: from left to right, a literal segment goes before
// {name}, and that before {name...}; then a route for the method goes before one
// for any. A route that does not fit to its end gives way to the next one.
// When there are routes for the path, but for other methods only, ok is false and
// allowed lists these, sorted, for the answer 405; otherwise allowed is nil.
func (r *Routes) Match(method, path string) (index int, params map[string]string, ok bool, allowed []string) {
	if !strings.HasPrefix(path, "/") {
		return 0, nil, false, nil
	}
	w := walk{method: method}
	e := w.match(r.root, path[1:])
	if e == nil {
		return 0, nil, false, slices.Sorted(maps.Keys(w.allowed))
	}
	for i, name := range e.names {
		if params == nil {
			params = make(map[string]string, len(e.names))
		}
		params[name] = w.values[i]
	}
	return e.route.Index, params, true, nil
}

// walk is one search of the tree.
type walk struct {
	method  string
	values  []string // of the parameters on the way here
	allowed map[string]bool
}

// match searches below a place for the rest of a path, which begins with a
// segment. It visits no place twice.
func (w *walk) match(s *segment, path string) *endpoint {
	raw, after, more := strings.Cut(path, "/")
	if part, err := url.PathUnescape(raw); err == nil {
		if n := s.literal[part]; n != nil {
			if e := w.descend(n, after, more); e != nil {
				return e
			}
		}
		if s.param != nil && part != "" {
			w.values = append(w.values, part)
			if e := w.descend(s.param, after, more); e != nil {
				return e
			}
			w.values = w.values[:len(w.values)-1]
		}
	}
	if s.rest != nil {
		if all, err := url.PathUnescape(path); err == nil {
			w.values = append(w.values, all)
			if e := w.choose(s.rest); e != nil {
				return e
			}
			w.values = w.values[:len(w.values)-1]
		}
	}
	return nil
}

// descend goes on after a segment.
func (w *walk) descend(s *segment, after string, more bool) *endpoint {
	if more {
		return w.match(s, after)
	}
	return w.choose(s.ends)
}

// choose finds the endpoint of the request's method.
func (w *walk) choose(ends map[string]endpoint) *endpoint {
	methods := []string{w.method, ""}
	if w.method == "HEAD" {
		methods = []string{"HEAD", "GET", ""}
	}
	for _, m := range methods {
		if e, ok := ends[m]; ok {
			return &e
		}
	}
	for m := range ends {
		if w.allowed == nil {
			w.allowed = map[string]bool{}
		}
		w.allowed[m] = true
		if m == "GET" {
			w.allowed["HEAD"] = true
		}
	}
	return nil
}
