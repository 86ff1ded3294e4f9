package process

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Request is an HTTP request that a call answers, but for its body, which is the
// call's input.
type Request struct {
	Method string // such as GET
	Root   string // what comes before Path and is not the application's, percent-encoded: "/t/shop"
	Path   string // percent-encoded, beginning with a slash
	Query  string // without the question mark
	Proto  string // default HTTP/1.1
	Scheme string // default http
	Host   string // name and port
	Client string // the client's address, may be with a port
	Header http.Header
}

// plainRequest is what an application sees of a call that is no request: a POST
// of its input.
func plainRequest() *Request {
	return &Request{Method: http.MethodPost, Path: "/", Host: "localhost", Header: http.Header{"Content-Type": {"application/json"}}}
}

// meta is the form in which a worker gets it. Its strings are of Latin-1, as
// both WSGI and ASGI want bytes.
func (r *Request) meta() map[string]any {
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		host, port = strings.Trim(r.Host, "[]"), ""
	}
	scheme, proto := r.Scheme, r.Proto
	if scheme == "" {
		scheme = "http"
	}
	if proto == "" {
		proto = "HTTP/1.1"
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		n = map[string]int{"http": 80, "https": 443}[scheme]
	}
	client := r.Client
	if h, _, err := net.SplitHostPort(client); err == nil {
		client = h
	}
	headers := [][2]string{}
	if r.Host != "" {
		headers = append(headers, [2]string{"Host", latin1(r.Host)})
	}
	for name, values := range r.Header {
		for _, v := range values {
			headers = append(headers, [2]string{latin1(name), latin1(v)})
		}
	}
	slices.SortFunc(headers, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return map[string]any{"method": r.Method, "root": ascii(r.Root), "path": ascii(r.Path), "query": latin1(r.Query), "proto": proto, "scheme": scheme,
		"host": latin1(host), "port": n, "client": client, "headers": headers}
}

// ascii escapes what a path that is percent-encoded does not hold.
func ascii(path string) string {
	if !strings.ContainsFunc(path, func(r rune) bool { return r > 126 || r < 33 }) {
		return path
	}
	var b strings.Builder
	for _, c := range []byte(path) {
		if c > 126 || c < 33 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// latin1 makes each byte a character, so that JSON can carry it.
func latin1(s string) string {
	r := make([]rune, len(s))
	for i := range len(s) {
		r[i] = rune(s[i])
	}
	return string(r)
}

// bytesOf undoes latin1, and leaves out what is no byte.
func bytesOf(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r < 256 {
			b = append(b, byte(r))
		}
	}
	return string(b)
}

// head makes a worker's list the header of a response.
func head(list [][2]string) http.Header {
	h := http.Header{}
	for _, v := range list {
		h.Add(bytesOf(v[0]), bytesOf(v[1]))
	}
	return h
}
