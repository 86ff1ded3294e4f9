package sandbox

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

func TestDialAsksTheAllowList(t *testing.T) {
	l, err := Listen(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	listener, err := net.FileListener(l)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("hi"))
			c.Close()
		}
	}()
	port := listener.Addr().(*net.TCPAddr).Port
	p := ":" + strconv.Itoa(port)
	names := map[string]string{
		"rebound.example": "127.0.0.1", "metadata.example": "169.254.169.254", "amazon6.example": "fd00:ec2::254",
		"mapped.example": "::ffff:127.0.0.1", "nat64.example": "64:ff9b::7f00:1", "six.example": "::1",
		"any.example": "0.0.0.0", "group.example": "224.0.0.1", "node.example": "192.0.2.7", "link.example": "fe80::1%eth0",
		"alibaba.example": "100.100.100.200",
	}
	d := dialer{
		lookup: func(_ context.Context, _, host string) ([]netip.Addr, error) {
			a, ok := names[host]
			if !ok {
				return nil, errors.New("no such host")
			}
			return []netip.Addr{netip.MustParseAddr(a)}, nil
		},
		own: func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("192.0.2.7")} },
	}
	for _, c := range []struct {
		allow string
		host  string
		want  string // part of the error; "": connected
	}{
		{"127.0.0.1" + p, "127.0.0.1", ""},
		{"localhost" + p, "localhost", ""},
		{"localhost" + p, "LocalHost.", ""},
		{"127.0.0.1" + p, "::ffff:127.0.0.1", ""},
		{"127.0.0.1" + p, "localhost", "dial list"},
		{"localhost" + p, "127.0.0.1", "dial list"},
		{"127.0.0.1:1", "127.0.0.1", "dial list"},
		{"", "127.0.0.1", "dial list"},
		{"other.example" + p, "rebound.example", "dial list"},
		{"rebound.example" + p, "rebound.example", "127.0.0.1, a loopback address"},
		{"mapped.example" + p, "mapped.example", "a loopback address"},
		{"nat64.example" + p, "nat64.example", "a loopback address"},
		{"six.example" + p, "six.example", "a loopback address"},
		{"metadata.example" + p, "metadata.example", "a link-local address"},
		{"amazon6.example" + p, "amazon6.example", "a metadata address"},
		{"alibaba.example" + p, "alibaba.example", "a metadata address"},
		{"any.example" + p, "any.example", "an unspecified address"},
		{"group.example" + p, "group.example", "a multicast or broadcast address"},
		{"node.example" + p, "node.example", "an address of this machine"},
		{"link.example" + p, "link.example", "a link-local address"},
		{"none.example" + p, "none.example", "no such host"},
	} {
		f, err := d.dial(t.Context(), []string{c.allow}, c.host, port)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s by %s: %v", c.host, c.allow, err)
			} else {
				if b, err := io.ReadAll(f); string(b) != "hi" {
					t.Errorf("%s: read %q, %v", c.host, b, err)
				}
				f.Close()
			}
			continue
		}
		if err == nil {
			f.Close()
			t.Errorf("%s by %s: connected", c.host, c.allow)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s by %s: %v, want %q", c.host, c.allow, err, c.want)
		} else if refused := c.want != "no such host"; errors.Is(err, ErrNotGranted) != refused {
			t.Errorf("%s by %s: %v is ErrNotGranted: %v", c.host, c.allow, err, !refused)
		}
	}
}

func TestListenSaysWhichPort(t *testing.T) {
	l, err := Listen(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	listener, err := net.FileListener(l)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	addr := listener.Addr().(*net.TCPAddr)
	if !addr.IP.IsLoopback() {
		t.Errorf("listens on %v", addr)
	}
	if _, err := Listen(t.Context(), addr.Port); err == nil || !strings.Contains(err.Error(), "listen on port "+strconv.Itoa(addr.Port)) {
		t.Errorf("second listener: %v", err)
	}
}
