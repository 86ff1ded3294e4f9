package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNotGranted is returned by Dial for an address that the allow list does not
// name, and for one that it names only by a name that leads to an address no
// sandbox may reach.
var ErrNotGranted = errors.New("not granted")

// dialTimeout bounds one attempt to connect.
const dialTimeout = 10 * time.Second

// Dial connects to host:port for a sandbox, if allow names it. The entries of
// allow are "host:port". An entry whose host is an address or "localhost"
// grants exactly that address, whatever it is. An entry with a name never
// leads to loopback, link-local, multicast or metadata addresses, nor to the
// node itself. The result is a connected TCP socket.
func Dial(ctx context.Context, allow []string, host string, port int) (*os.File, error) {
	return dialer{net.DefaultResolver.LookupNetIP, ownAddresses}.dial(ctx, allow, host, port)
}

// dialer is Dial with its surroundings.
type dialer struct {
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
	own    func() []netip.Addr // the node's addresses
}

func (d dialer) dial(ctx context.Context, allow []string, host string, port int) (*os.File, error) {
	target := net.JoinHostPort(host, strconv.Itoa(port))
	if !granted(allow, host, port) {
		return nil, fmt.Errorf("dial %s: %w: the function's dial list does not have it", target, ErrNotGranted)
	}
	addresses, literal, err := d.resolve(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", target, err)
	}
	var failures []error
	for _, a := range addresses {
		if why := d.refused(a); why != "" && !literal {
			failures = append(failures, fmt.Errorf("%w: it leads to %s, %s; grant the address itself if that is meant", ErrNotGranted, a, why))
			continue
		}
		f, err := connect(ctx, netip.AddrPortFrom(a, uint16(port)))
		if err == nil {
			return f, nil
		}
		failures = append(failures, err)
	}
	return nil, fmt.Errorf("dial %s: %w", target, errors.Join(failures...))
}

// granted reports whether an entry of allow names host and port.
func granted(allow []string, host string, port int) bool {
	for _, entry := range allow {
		h, p, err := net.SplitHostPort(entry)
		if err == nil && p == strconv.Itoa(port) && canonical(h) == canonical(host) {
			return true
		}
	}
	return false
}

// canonical returns a host in the one form that is compared.
func canonical(host string) string {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().String()
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// resolve returns the addresses of a host, and whether it was an address
// already. "localhost" is what the words mean, whatever a resolver says.
func (d dialer) resolve(ctx context.Context, host string) (addresses []netip.Addr, literal bool, err error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, true, nil
	}
	if canonical(host) == "localhost" {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, true, nil
	}
	addresses, err = d.lookup(ctx, "ip", host)
	if err == nil && len(addresses) == 0 {
		err = errors.New("it has no address")
	}
	return addresses, false, err
}

// Where cloud providers answer machines with their credentials, beside the
// link-local 169.254.0.0/16 that most of them use.
var metadata = []netip.Prefix{
	netip.MustParsePrefix("fd00:ec2::254/128"),  // Amazon
	netip.MustParsePrefix("fd20:ce::254/128"),   // Google
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure
	netip.MustParsePrefix("192.0.0.192/32"),     // Oracle
}

// Ranges whose addresses contain an IPv4 address, at the given byte.
var embedded = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12}, // NAT64
	{netip.MustParsePrefix("2002::/16"), 2},     // 6to4
	{netip.MustParsePrefix("::/96"), 12},        // IPv4-compatible
}

// refused says why a name may not lead to an address, or nothing.
func (d dialer) refused(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	switch {
	case a.IsLoopback():
		return "a loopback address"
	case a.IsUnspecified(), a.Is4() && a.As4()[0] == 0:
		return "an unspecified address"
	case a.IsLinkLocalUnicast():
		return "a link-local address"
	case a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "a multicast or broadcast address"
	}
	for _, p := range metadata {
		if p.Contains(a) {
			return "a metadata address"
		}
	}
	for _, own := range d.own() {
		if own == a {
			return "an address of this machine"
		}
	}
	for _, e := range embedded {
		if b := a.As16(); a.Is6() && e.prefix.Contains(a) {
			return d.refused(netip.AddrFrom4([4]byte(b[e.at : e.at+4])))
		}
	}
	return ""
}

// ownAddresses returns the addresses of the machine's interfaces.
func ownAddresses() []netip.Addr {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr().Unmap().WithZone(""))
		}
	}
	return out
}

// connect connects to one address. The address is compared once more where the
// socket is about to use it: what was judged is what is connected to.
func connect(ctx context.Context, to netip.AddrPort) (*os.File, error) {
	d := net.Dialer{
		Timeout: dialTimeout,
		Control: func(_, address string, _ syscall.RawConn) error {
			if got, err := netip.ParseAddrPort(address); err != nil || got.Port() != to.Port() || got.Addr().Unmap() != to.Addr().Unmap() {
				return fmt.Errorf("%w: about to connect to %s", ErrNotGranted, address)
			}
			return nil
		},
	}
	conn, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.(*net.TCPConn).File()
}

// Listen returns a socket that listens on the IPv4 loopback address at port. A
// port of 0 picks a free one.
func Listen(ctx context.Context, port int) (*os.File, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("listen on port %d: %w", port, err)
	}
	defer l.Close()
	return l.(*net.TCPListener).File()
}
