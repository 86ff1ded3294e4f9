package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/weft-run/weft/internal/sandbox"
)

// A door is how calls get to something that their function may connect to. The
// network of a version has no way out: only a loopback interface. There the
// node listens, at an address and port that stand for a granted entry, and passes on what it
// accepts to a connection of its own, which it makes as for any sandbox
// (sandbox.Dial). Programs need to know nothing of it: /etc/hosts has the
// addresses of names, and an address that is granted is one of the interface.
type door struct {
	host    string // as granted: a name or an address
	port    int
	address netip.Addr // in the version's network
}

const (
	doorsMax   = 64  // of a version: WARDEN_DOORS
	throughMax = 256 // connections of a version at a time
)

// doorsOf gives each entry a door.
func doorsOf(dial []string) ([]door, error) {
	var doors []door
	if len(dial) > doorsMax {
		return nil, fmt.Errorf("it may connect to %d addresses, the limit is %d", len(dial), doorsMax)
	}
	addresses := map[string]netip.Addr{"localhost": netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	for _, entry := range dial {
		host, text, err := net.SplitHostPort(entry)
		if err != nil {
			return nil, fmt.Errorf("dial: %w", err)
		}
		port, err := strconv.Atoi(text)
		if err != nil || port < 1 || port > 65535 || host == "" || strings.ContainsAny(host, " \t\r\n#\x00") {
			return nil, fmt.Errorf("dial: %q is not HOST:PORT", entry)
		}
		name := strings.ToLower(strings.TrimSuffix(host, "."))
		a, known := addresses[name]
		if literal, err := netip.ParseAddr(host); err == nil {
			a = literal.Unmap().WithZone("")
		} else if !known {
			a = netip.AddrFrom4([4]byte{127, 1, 0, byte(len(addresses))})
			addresses[name] = a
		}
		i := slices.IndexFunc(doors, func(o door) bool { return o.address == a && o.port == port })
		switch {
		case i < 0:
			doors = append(doors, door{host: host, port: port, address: a})
		case !a.IsLoopback() || strings.EqualFold(doors[i].host, host) || a == addresses["localhost"]: // the same again
		default:
			return nil, fmt.Errorf("dial: %s stands for %s in the function's network: leave one of them out", a, doors[i].host)
		}
	}
	return doors, nil
}

// hosts is the file of names.
func hosts(doors []door) string {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n::1 localhost\n")
	seen := map[string]bool{"localhost": true}
	for _, d := range doors {
		name := strings.ToLower(strings.TrimSuffix(d.host, "."))
		if _, err := netip.ParseAddr(d.host); err != nil && !seen[name] {
			seen[name] = true
			fmt.Fprintf(&b, "%s %s\n", d.address, name)
		}
	}
	return b.String()
}

// doorway is the node's side of a version's doors.
type doorway struct {
	of   *server
	free chan struct{} // one for each connection that there may be

	mu        sync.Mutex
	listeners []net.Listener // guarded by mu
	open      sync.WaitGroup
	ctx       context.Context // ends with the server
	cancel    context.CancelFunc
}

func newDoorway(s *server) *doorway {
	w := &doorway{of: s, free: make(chan struct{}, throughMax)}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// listen takes the socket of a door over, which the warden has made.
func (w *doorway) listen(number uint32, fds []int) error {
	doors, err := doorsOf(w.of.f.Dial)
	if err != nil || int(number) >= len(doors) || len(fds) != 1 {
		closeFDs(fds)
		return errors.Join(errors.New("a socket that no door is for"), err)
	}
	f := os.NewFile(uintptr(fds[0]), "door")
	l, err := net.FileListener(f)
	f.Close()
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.listeners = append(w.listeners, l)
	w.mu.Unlock()
	w.open.Go(func() { w.answer(l, doors[number]) })
	return nil
}

// close ends all connections.
func (w *doorway) close() {
	w.cancel()
	w.mu.Lock()
	for _, l := range w.listeners {
		l.Close()
	}
	w.mu.Unlock()
	w.open.Wait()
}

func (w *doorway) answer(l net.Listener, d door) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		inside := c.(*net.TCPConn)
		select {
		case w.free <- struct{}{}:
			w.open.Go(func() {
				w.pass(inside, d)
				<-w.free
			})
		default:
			w.refuse(inside, d, fmt.Errorf("the function has %d connections already", throughMax))
		}
	}
}

// refuse resets a connection: whoever made it sees an error, and no empty answer.
func (w *doorway) refuse(inside *net.TCPConn, d door, why error) {
	inside.SetLinger(0)
	inside.Close()
	w.of.pool.o.Log(w.of.f.Name, fmt.Sprintf("weft: connection to %s refused: %v", net.JoinHostPort(d.host, strconv.Itoa(d.port)), why))
}

// pass connects, and copies both ways until both have ended.
func (w *doorway) pass(inside *net.TCPConn, d door) {
	f, err := sandbox.Dial(w.ctx, w.of.f.Dial, d.host, d.port)
	if err != nil {
		w.refuse(inside, d, err)
		return
	}
	c, err := net.FileConn(f)
	f.Close()
	if err != nil {
		w.refuse(inside, d, err)
		return
	}
	outside := c.(*net.TCPConn)
	stop := context.AfterFunc(w.ctx, func() {
		inside.Close()
		outside.Close()
	})
	defer stop()
	defer inside.Close()
	defer outside.Close()
	var ways sync.WaitGroup
	for _, way := range [][2]*net.TCPConn{{inside, outside}, {outside, inside}} {
		ways.Go(func() {
			if _, err := io.Copy(way[0], way[1]); err != nil { // a broken one breaks the other
				way[0].SetLinger(0)
				way[0].Close()
				way[1].Close()
				return
			}
			way[0].CloseWrite()
		})
	}
	ways.Wait()
}
