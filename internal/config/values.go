package config

import (
	"cmp"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/yamlfile"
)

// path reads a path and makes it absolute.
func (r *reading) path(n *yamlfile.Node, want string) string {
	s := r.Text(n, want)
	if s == "" {
		return ""
	}
	if strings.ContainsFunc(s, unicode.IsControl) || len(s) > 4096 {
		r.WrongKind(n, want, "")
		return ""
	}
	if !filepath.IsAbs(s) {
		s = filepath.Join(r.dir, s)
	}
	return filepath.Clean(s)
}

// parameter reads NAME=VALUE of a CPU policy. What several values mean together is
// checked for each by itself, beside the defaults of a large machine.
func (r *reading) parameter(n *yamlfile.Node) (string, bool) {
	const want = `a parameter such as "alps.theta=40"`
	s := r.Text(n, want)
	if s == "" {
		return "", false
	}
	name, value, ok := strings.Cut(s, "=")
	if !ok || strings.ContainsFunc(s, unicode.IsControl) {
		r.WrongKind(n, want, "")
		return "", false
	}
	o := policy.Defaults(64)
	err := o.Set("", name, value)
	if err == nil {
		err = o.Validate()
	}
	if err != nil {
		r.Errorf(n.At, cmp.Or(yamlfile.Nearest(name, policy.ParameterNames()), "docs/cpu.md has the parameters"), "cpu_parameters: %s", yamlfile.Shorten(strings.ReplaceAll(err.Error(), "\n", "; "), 200))
		return "", false
	}
	return s, true
}

// none reports whether n is the empty string, for settings that may be absent.
func none(n *yamlfile.Node) bool { return n.Kind == yamlfile.String && n.Text() == "" }

func (r *reading) optionalPath(n *yamlfile.Node) string {
	if none(n) {
		return ""
	}
	return r.path(n, "a file")
}

func (r *reading) socket(n *yamlfile.Node) string {
	if none(n) {
		return ""
	}
	s := r.path(n, "a path")
	if len(s) > maxSocket {
		r.Errorf(n.At, "choose a shorter path", "socket: %s has %d bytes; unix sockets have %d at most", yamlfile.Shorten(s, 60), len(s), maxSocket)
	}
	return s
}

// address reads a host:port to listen at. Port 0 is any that is free.
func (r *reading) address(n *yamlfile.Node) (string, bool) {
	const want = `"host:port", such as "127.0.0.1:8080"`
	s := r.Text(n, want)
	if s == "" {
		return "", false
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || !isPort(port) || strings.ContainsAny(host, "/*@ ") || strings.ContainsFunc(host, unicode.IsControl) {
		r.WrongKind(n, want, "")
		return "", false
	}
	return s, true
}

// isPort reports whether s is a number that a port may have, 0 included.
func isPort(s string) bool {
	p, err := strconv.ParseUint(s, 10, 16)
	return err == nil && s == strconv.FormatUint(p, 10)
}

// host reads a name of the node, with or without a port.
func (r *reading) host(n *yamlfile.Node) (string, bool) {
	const want = "a name such as weft.example.org, with or without a port"
	s := r.Text(n, want)
	if s == "" {
		return "", false
	}
	name := s
	if h, port, err := net.SplitHostPort(s); err == nil && isPort(port) {
		name = h
	}
	if name == "" || strings.ContainsAny(name, "/*@ ") || strings.ContainsFunc(name, unicode.IsControl) || strings.Contains(name, ":") && net.ParseIP(strings.Trim(name, "[]")) == nil {
		r.WrongKind(n, want, "")
		return "", false
	}
	return s, true
}

// domain reads the name of a domain.
func (r *reading) domain(n *yamlfile.Node) string {
	if none(n) {
		return ""
	}
	s, ok := r.host(n)
	if ok && (strings.Contains(s, ":") || strings.HasPrefix(s, ".")) {
		r.WrongKind(n, "a name such as example.org", "")
	}
	return s
}

// origin reads a scheme and a host, as browsers send them.
func (r *reading) origin(n *yamlfile.Node) (string, bool) {
	const want = "an origin such as https://console.example.org, without a path"
	s := r.Text(n, want)
	if s == "" {
		return "", false
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Scheme+"://"+u.Host != s {
		hint := ""
		if err == nil && u.Scheme != "" && u.Host != "" {
			hint = "write " + yamlfile.Shorten(strings.ToLower(u.Scheme)+"://"+u.Host, 60)
		}
		r.WrongKind(n, want, hint)
		return "", false
	}
	return s, true
}

// collector reads the URL of an OpenTelemetry collector.
func (r *reading) collector(n *yamlfile.Node) string {
	if none(n) {
		return ""
	}
	const want = "a URL such as http://127.0.0.1:4318"
	s := r.Text(n, want)
	if u, err := url.Parse(s); s != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		r.WrongKind(n, want, "")
	}
	return s
}

func (r *reading) folder(n *yamlfile.Node) (Folder, bool) {
	var f Folder
	s := r.Text(n, `a folder such as /srv/data, or /srv/data:rw for writing`)
	if s == "" {
		return f, false
	}
	path, write := strings.CutSuffix(s, ":rw")
	if !write {
		path = strings.TrimSuffix(path, ":ro")
	}
	// The rest is a string like any other, at the same place.
	f = Folder{Path: r.path(&yamlfile.Node{Kind: yamlfile.String, At: n.At, Scalar: path}, "a folder"), Write: write}
	return f, f.Path != ""
}

func (r *reading) peer(n *yamlfile.Node) (Peer, bool) {
	s := r.Text(n, `"host:port", such as "*.example.org:443"`)
	if s == "" {
		return Peer{}, false
	}
	p, err := ParsePeer(s)
	if err != nil {
		r.Errorf(n.At, `for example "*.example.org:443", "10.0.0.0/8:5432", "[::1]:8000-8100" or "*:*"`, "dial: %v", err)
	}
	return p, err == nil
}

func (r *reading) ports(n *yamlfile.Node) (Ports, bool) {
	s := n.Text()
	if i, ok := n.Scalar.(int); ok {
		s = strconv.Itoa(i)
	}
	p, err := ParsePorts(s)
	if err != nil {
		r.WrongKind(n, `a port such as 8080, or "8000-8100"`, "")
	}
	return p, err == nil
}
