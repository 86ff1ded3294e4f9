package machine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/servicetest"
	"github.com/weft-run/weft/internal/service/wire"
)

// modes are those of methods, by name; of others it is Exclusive.
func modes(m map[string]machine.Mode) func(string, wire.Target) machine.Mode {
	return func(_ string, t wire.Target) machine.Mode { return m[t.Method] }
}

// What a method does that only reads, but for reading, is refused: it fails, and
// nothing of it has happened.
func TestMethodsThatOnlyRead(t *testing.T) {
	write := func(c *servicetest.Context) { c.Put(field, bytesOf(9)) }
	methods := map[string]servicetest.Method{
		"s.write":       func(c *servicetest.Context) ([]byte, error) { write(c); return nil, nil },
		"s.call":        func(c *servicetest.Context) ([]byte, error) { return c.Call(to("write")) },
		"s.read":        func(c *servicetest.Context) ([]byte, error) { return c.Get(field), nil },
		"s.sharedWrite": func(c *servicetest.Context) ([]byte, error) { write(c); return nil, nil },
		"s.sharedCall":  func(c *servicetest.Context) ([]byte, error) { return c.Call(to("write")) },
		"s.lookWrite":   func(c *servicetest.Context) ([]byte, error) { write(c); return nil, nil },
		"s.lookCall":    func(c *servicetest.Context) ([]byte, error) { return c.Call(to("write")) },
		"s.lookRead":    func(c *servicetest.Context) ([]byte, error) { return c.Call(to("read")) },
		"s.lookSend":    func(c *servicetest.Context) ([]byte, error) { c.Send(0, to("write")); return nil, nil },
		"s.lookGo": func(c *servicetest.Context) ([]byte, error) {
			values, err := c.Await(c.Go(to("read")), c.Go(to("read")))
			if err != nil {
				return nil, err
			}
			return values[1].Data, nil
		},
		"s.lookSleep":    func(c *servicetest.Context) ([]byte, error) { return nil, c.Sleep(time.Second) },
		"s.lookUndo":     func(c *servicetest.Context) ([]byte, error) { c.Compensate(to("write")); return nil, nil },
		"s.lookContinue": func(c *servicetest.Context) ([]byte, error) { c.Continue(); return nil, nil },
		"s.lookRun": func(c *servicetest.Context) ([]byte, error) {
			return c.Run("mail", func(string) ([]byte, error) { panic("it is done") })
		},
	}
	all := map[string]machine.Mode{}
	for name := range methods {
		switch {
		case strings.HasPrefix(name, "s.shared"):
			all[name[2:]] = machine.Shared
		case strings.HasPrefix(name, "s.look"):
			all[name[2:]] = machine.Snapshot
		}
	}
	for name, want := range map[string]string{
		"call": "", "sharedCall": "", // others may write
		"read": "", "lookRead": "", "lookGo": "",
		"sharedWrite":  "write field: s.sharedWrite is declared shared, and does not write",
		"lookWrite":    "write field: s.lookWrite is declared snapshot, and does not write",
		"lookCall":     "write field: s.lookCall is a snapshot, and only reads",
		"lookSend":     "send s.write: s.lookSend is a snapshot, and only reads",
		"lookSleep":    "wait for [1]: s.lookSleep is a snapshot, and only reads",
		"lookUndo":     "compensate s.write: s.lookUndo is a snapshot, and only reads",
		"lookContinue": "continue: s.lookContinue is a snapshot, and only reads",
		"lookRun":      "run mail: s.lookRun is a snapshot, and only reads",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, machine.Options{Mode: modes(all)}, methods)
			w.client("c", record.Call{To: to(name)})
			w.live(10_000)
			got := w.clients[0].answers[0]
			if got.Text != want || (got.Code == wire.OK) != (want == "") {
				t.Errorf("got %v %q, want %q", got.Code, got.Text, want)
			}
			if n, writes := w.stateOf(field), want == "" && strings.HasSuffix(strings.ToLower(name), "call"); (n == 9) != writes {
				t.Errorf("the field has %d", n)
			}
			if name != "lookContinue" { // the reference does not know that
				check(w)
			}
		})
	}
}

// Snapshots see what several services have at one moment, and neither have locks nor wait
// for any, whatever writers do meanwhile.
func TestSnapshotsWaitForNobody(t *testing.T) {
	account := func(n uint64) wire.Target {
		return wire.Target{Service: "account", Object: fmt.Sprint(n), Method: "add"}
	}
	get := func(n uint64) wire.Target { t := account(n); t.Method = "get"; return t }
	methods := map[string]servicetest.Method{
		"account.add": func(c *servicetest.Context) ([]byte, error) {
			c.Put(field, bytesOf(number(c.Get(field))+number(c.Arg(0))))
			return nil, nil
		},
		"account.get": func(c *servicetest.Context) ([]byte, error) { return c.Get(field), nil },
		"teller.move": func(c *servicetest.Context) ([]byte, error) {
			if _, err := c.Call(account(0), bytesOf(1)); err != nil {
				return nil, err
			}
			return c.Call(account(1), bytesOf(^uint64(0)))
		},
		"teller.total": func(c *servicetest.Context) ([]byte, error) {
			sum := uint64(0)
			for n := range uint64(2) {
				data, err := c.Call(get(n))
				if err != nil {
					return nil, err
				}
				sum += number(data)
			}
			return bytesOf(sum), nil
		},
	}
	for seed := range uint64(30) {
		w := newWorld(t, seed, machine.Options{Mode: modes(map[string]machine.Mode{"total": machine.Snapshot}), Attempts: 1 << 30}, methods)
		w.crashes = 2
		for i := range 5 {
			w.client(fmt.Sprint("move", i), record.Call{To: wire.Target{Service: "teller", Method: "move"}})
			w.client(fmt.Sprint("look", i), record.Call{To: wire.Target{Service: "teller", Method: "total"}})
		}
		for !w.settled() && w.move() {
			for _, l := range w.m.Locks() {
				if strings.HasPrefix(l.Request, "look") {
					t.Fatalf("a snapshot has or wants the lock %+v", l)
				}
			}
		}
		w.live(1)
		check(w)
		for i, c := range w.clients {
			if n := number(c.answers[0].Data); i%2 == 1 && n != 0 {
				t.Errorf("seed %d: the total is %d, want 0", seed, n)
			}
		}
	}
}

// Methods that are shared scan a map at the same time, and no writer is among them.
func TestSharedScans(t *testing.T) {
	w := newWorld(t, 1, machine.Options{Mode: modes(map[string]machine.Mode{"list": machine.Shared})}, map[string]servicetest.Method{
		"s.add": func(c *servicetest.Context) ([]byte, error) {
			c.Put(wire.Key{Field: "map", Item: true, Entry: string(c.Arg(0))}, bytesOf(1))
			return nil, nil
		},
		"s.list": func(c *servicetest.Context) ([]byte, error) {
			n := len(c.Scan("map", "", 100))
			c.Get(field)
			return bytesOf(uint64(n)), nil
		},
	})
	for i := range 8 {
		w.client(fmt.Sprint("list", i), record.Call{To: to("list")})
		w.client(fmt.Sprint("add", i), record.Call{To: to("add"), Args: [][]byte{bytesOf(uint64(i))}})
	}
	most := 0
	for !w.settled() && w.move() {
		lists, adds := 0, 0
		for _, l := range w.m.Locks() {
			switch {
			case l.Waiting || l.Key != record.Shape("s", "", "map"):
			case strings.HasPrefix(l.Request, "list"):
				lists++
			default:
				adds++
			}
		}
		if most = max(most, lists); lists > 0 && adds > 0 {
			t.Fatalf("%d methods scan while %d write entries", lists, adds)
		}
	}
	w.live(1)
	check(w)
	if most < 2 {
		t.Errorf("%d methods have scanned at the same time, want several", most)
	}
}
