package trigger_test

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/trigger"
)

// parse reads routes such as "POST /a/{b}"; their index is their position.
func parse(list ...string) (out []trigger.Route) {
	for i, s := range list {
		method, path, ok := strings.Cut(s, " ")
		if !ok {
			method, path = "", s
		}
		out = append(out, trigger.Route{Method: method, Path: path, Index: i})
	}
	return out
}

func build(t testing.TB, list ...string) *trigger.Routes {
	t.Helper()
	r, err := trigger.NewRoutes(parse(list...))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMatch(t *testing.T) {
	list := []string{
		"GET /",                  // 0
		"POST /orders",           // 1
		"GET /orders/{id}",       // 2
		"GET /orders/latest",     // 3
		"/orders/{id}",           // 4
		"GET /orders/{id}/lines", // 5
		"GET /files/{path...}",   // 6
		"GET /files/index",       // 7
		"PUT /files/{one}",       // 8
		"GET /orders/",           // 9
		"POST /a/{x}",            // 10
		"GET /{y}/b",             // 11
		"HEAD /only",             // 12
		"GET /u/{a}/{b}",         // 13
	}
	r := build(t, list...)
	for _, c := range []struct {
		method, path string
		want         int // -1: none
		params       string
		allowed      string
	}{
		{"GET", "/", 0, "", ""},
		{"POST", "/", -1, "", "GET HEAD"},
		{"POST", "/orders", 1, "", ""},
		{"GET", "/orders", -1, "", "POST"},
		{"GET", "/orders/", 9, "", ""},
		{"GET", "/orders/17", 2, "id=17", ""},
		{"HEAD", "/orders/17", 2, "id=17", ""},
		{"DELETE", "/orders/17", 4, "id=17", ""},
		{"GET", "/orders/latest", 3, "", ""},
		{"POST", "/orders/latest", 4, "id=latest", ""}, // the literal one is for GET only
		{"GET", "/orders/latest/lines", 5, "id=latest", ""},
		{"GET", "/orders/a%2Fb", 2, "id=a/b", ""},
		{"GET", "/%6Frders/17", 2, "id=17", ""},
		{"GET", "/orders/%zz", -1, "", ""},
		{"GET", "/orders//lines", -1, "", ""},
		{"GET", "/orders/17/", -1, "", ""},
		{"GET", "/files", -1, "", ""},
		{"GET", "/files/", 6, "path=", ""},
		{"GET", "/files/a", 6, "path=a", ""},
		{"GET", "/files/a/b//c%20d", 6, "path=a/b//c d", ""},
		{"GET", "/files/index", 7, "", ""},
		{"GET", "/files/index/x", 6, "path=index/x", ""},
		{"PUT", "/files/index", 8, "one=index", ""},
		{"DELETE", "/files/index", -1, "", "GET HEAD PUT"},
		{"GET", "/a/b", 11, "y=a", ""},
		{"POST", "/a/b", 10, "x=b", ""},
		{"PATCH", "/a/b", -1, "", "GET HEAD POST"},
		{"GET", "/only", -1, "", "HEAD"},
		{"GET", "/u/1/2", 13, "a=1 b=2", ""},
		{"GET", "/nothing/here", -1, "", ""},
		{"GET", "", -1, "", ""},
		{"GET", "orders/17", -1, "", ""},
		{"OPTIONS", "*", -1, "", ""},
	} {
		index, params, ok, allowed := r.Match(c.method, c.path)
		if !ok {
			index = -1
		}
		var got []string
		for _, k := range slices.Sorted(maps.Keys(params)) {
			got = append(got, k+"="+params[k])
		}
		if index != c.want || strings.Join(got, " ") != c.params || strings.Join(allowed, " ") != c.allowed {
			t.Errorf("%s %s: route %d, params %v, allowed %v; want %d, %q, %q", c.method, c.path, index, got, allowed, c.want, c.params, c.allowed)
		}
	}
}

func TestRoutesThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		routes []string
		want   string
	}{
		{[]string{"GET /a", "GET /a"}, "routes GET /a and GET /a answer the same requests"},
		{[]string{"GET /a/{x}", "GET /a/{y}"}, "routes GET /a/{x} and GET /a/{y} answer the same requests"},
		{[]string{"/a/{x...}", "/a/{y...}"}, "routes /a/{x...} and /a/{y...} answer the same requests"},
		{[]string{"get /a"}, "not in capital letters"},
		{[]string{"GET a"}, "does not begin with a slash"},
		{[]string{"GET "}, "does not begin with a slash"},
		{[]string{"GET /a//b"}, "a segment is empty"},
		{[]string{"GET /a/../b"}, `the segment ".."`},
		{[]string{"GET /a{x}"}, `"a{x}" is no parameter`},
		{[]string{"GET /{}"}, `"{}" is no parameter`},
		{[]string{"GET /{1}"}, `"{1}" is no parameter`},
		{[]string{"GET /{x}/{x}"}, "two parameters are called x"},
		{[]string{"GET /{x...}/a"}, "{x...} is not at the end"},
		{[]string{"GET /a{", "GET /b}"}, `"b}" is no parameter`}, // all at once
	} {
		_, err := trigger.NewRoutes(parse(c.routes...))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want %q", c.routes, err, c.want)
		}
	}
	if _, err := trigger.NewRoutes(parse("GET /a", "POST /a", "/a", "GET /a/", "GET /{x}", "GET /{x...}")); err != nil {
		t.Errorf("routes that differ: %v", err)
	}
}

// Routes of which none gives way to another match what net/http matches.
func FuzzMatch(f *testing.F) {
	for _, path := range []string{"/", "/a", "/a/b", "/a/b/c", "/files/x/y", "/a/%2F", "/%", "/a//b", "/f/", "/f"} {
		f.Add("GET", path)
		f.Add("POST", path)
	}
	list := []string{"GET /{$}", "POST /a", "GET /a/{x}", "POST /a/{x}/c", "GET /a/b", "/f/{rest...}"}
	mux := http.NewServeMux()
	var mine []string
	for _, s := range list {
		mux.Handle(s, http.NotFoundHandler())
		mine = append(mine, strings.Replace(s, "{$}", "", 1))
	}
	r := build(f, mine...)
	f.Fuzz(func(t *testing.T, method, path string) {
		index, params, ok, allowed := r.Match(method, path)
		if ok && allowed != nil || !ok && params != nil {
			t.Errorf("%s %s: ok %t with params %v and allowed %v", method, path, ok, params, allowed)
		}
		u, err := url.ParseRequestURI("http://host" + path)
		if err != nil || u.EscapedPath() != path || strings.ContainsAny(path, "?#") || path == "" || method == "CONNECT" {
			return
		}
		if strings.Contains(path, "//") || strings.Contains(path, "/.") || path == "/f" {
			return // net/http redirects
		}
		if slices.Contains(strings.Split(strings.ToUpper(path), "/"), "%2F") {
			return // net/http takes a segment that is one escaped slash for the end
		}
		_, pattern := mux.Handler(&http.Request{Method: method, URL: u, Host: "host"})
		got := ""
		if ok {
			got = list[index]
		}
		if got != pattern {
			t.Errorf("%s %s: route %q, net/http %q", method, path, got, pattern)
		}
	})
}
