package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/weft-run/weft/internal/yamlfile"
)

// Folder is a folder of the host that apps may ask for, with all below it.
type Folder struct {
	Path  string // absolute and clean
	Write bool   // otherwise for reading
}

// String writes the folder as the file has it.
func (f Folder) String() string {
	switch {
	case f.Write:
		return f.Path + ":rw"
	case strings.HasSuffix(f.Path, ":rw"), strings.HasSuffix(f.Path, ":ro"):
		return f.Path + ":ro"
	}
	return f.Path
}

// Ports is a range of ports. The zero Ports is every port.
type Ports struct{ First, Last int }

// ParsePorts reads "8080", "8000-8100" or "*".
func ParsePorts(s string) (Ports, error) {
	if s == "*" {
		return Ports{}, nil
	}
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	a, aerr := strconv.ParseUint(first, 10, 16)
	b, berr := strconv.ParseUint(last, 10, 16)
	if aerr != nil || berr != nil || a < 1 || a > b {
		return Ports{}, fmt.Errorf("%q is neither a port nor a range such as 8000-8100", yamlfile.Shorten(s, 40))
	}
	return Ports{int(a), int(b)}, nil
}

// Has reports whether a port is one of them.
func (p Ports) Has(port int) bool {
	return p == Ports{} || p.First <= port && port <= p.Last
}

// String writes the ports as the file has them.
func (p Ports) String() string {
	switch {
	case p == Ports{}:
		return "*"
	case p.First == p.Last:
		return strconv.Itoa(p.First)
	}
	return fmt.Sprintf("%d-%d", p.First, p.Last)
}

// Peer is a pattern of hosts and ports to which functions may connect.
type Peer struct {
	name   string       // "*", "*.example.org" or a name in lower case; "": addresses
	prefix netip.Prefix // of the addresses
	ports  Ports
}

// everyPublicPeer is *:*.
var everyPublicPeer = Peer{name: "*"}

// peerName matches a name, and what stands for its subdomains.
var peerName = regexp.MustCompile(`^(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$`)

// ParsePeer reads a pattern "host:port". The host is a name, "*.NAME" for its
// subdomains, an address, a range such as 10.0.0.0/8, or "*" for every name
// but localhost and every public address; the port is as ParsePorts has it.
// IPv6 is written in brackets: "[fd00::/8]:443".
func ParsePeer(s string) (Peer, error) {
	var p Peer
	bad := func(why string) (Peer, error) {
		return Peer{}, fmt.Errorf("%q is no host:port: %s", yamlfile.Shorten(s, 80), why)
	}
	cut := strings.LastIndexByte(s, ':')
	if cut < 0 {
		return bad("it has no port")
	}
	host, port := s[:cut], s[cut+1:]
	var err error
	if p.ports, err = ParsePorts(port); err != nil {
		return bad("the port is not a number, a range or *")
	}
	inner, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		if inner, bracketed = strings.CutSuffix(inner, "]"); !bracketed {
			return bad("[ without its ]")
		}
		host = inner
	}
	if strings.Contains(host, "/") {
		p.prefix, err = netip.ParsePrefix(host)
	} else if a, aerr := netip.ParseAddr(host); aerr == nil {
		a = a.Unmap()
		p.prefix, err = a.Prefix(a.BitLen())
		if a.Zone() != "" {
			return bad("it has a zone")
		}
	} else {
		p.name = strings.ToLower(strings.TrimSuffix(host, "."))
		if _, aerr := netip.ParseAddr(p.name); aerr == nil {
			return bad("an address has no dot at its end")
		}
	}
	switch {
	case host == "":
		return bad("it has no host")
	case err != nil:
		return bad("the range of addresses is malformed")
	case p.name == "" && !p.prefix.IsValid():
		return bad("the host is not a name, an address, a range or *")
	case p.name == "" && p.prefix.Addr().Is6() != bracketed:
		return bad("IPv6 addresses stand in brackets, and nothing else does")
	case p.name != "" && (bracketed || p.name != "*" && !peerName.MatchString(p.name)):
		return bad("the host is not a name, an address, a range or *")
	}
	p.prefix = p.prefix.Masked()
	return p, nil
}

// Allows reports whether a function may connect to port of host, a name or an
// address. What a name leads to is not looked up: the sandbox refuses names
// that lead to loopback, link-local and metadata addresses, or to the node.
func (p Peer) Allows(host string, port int) bool {
	if !p.ports.Has(port) {
		return false
	}
	if a, err := netip.ParseAddr(host); err == nil {
		a = a.Unmap().WithZone("")
		return p.name == "*" && isPublic(a) || p.name == "" && p.prefix.Contains(a)
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if p.name == "*" {
		return name != "localhost" && !strings.HasSuffix(name, ".localhost")
	}
	if domain, ok := strings.CutPrefix(p.name, "*"); ok {
		return strings.HasSuffix(name, domain) && name != domain
	}
	return p.name != "" && name == p.name
}

// String writes the pattern as the file has it.
func (p Peer) String() string {
	host := p.name
	if host == "" {
		host = p.prefix.String()
		if p.prefix.IsSingleIP() {
			host = p.prefix.Addr().String()
		}
		if p.prefix.Addr().Is6() {
			host = "[" + host + "]"
		}
	}
	return host + ":" + p.ports.String()
}

// private are the ranges of addresses that netip takes for public and that are
// not: they are shared with a provider, reserved, or hold an IPv4 address.
var private = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),    // between a provider and its customers
	netip.MustParsePrefix("168.63.129.16/32"), // where Azure answers its machines
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"),
	netip.MustParsePrefix("64:ff9b::/96"), // NAT64
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2002::/16"), // 6to4
}

// isPublic reports whether an address is one of the Internet's.
func isPublic(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() &&
		!slices.ContainsFunc(private, func(p netip.Prefix) bool { return p.Contains(a) })
}
