// Bank is the service of the node's tests: accounts (service bank, an object for each)
// and who moves money between them (service teller).
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/service/servicetest"
	"github.com/weft-run/weft/internal/service/wire"
)

// hoard is more than the instance may have.
var hoard [][]byte

// self names the instance.
var self = rand.Text()

var balance = wire.Key{Field: "balance"}

func arg[T any](c *servicetest.Context, i int) (v T) {
	if err := json.Unmarshal(c.Arg(i), &v); err != nil {
		panic(err)
	}
	return v
}

func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

func add(c *servicetest.Context) ([]byte, error) {
	n := 0
	if text := c.Claim(balance); text != nil {
		if err := json.Unmarshal(text, &n); err != nil {
			return nil, err
		}
	}
	if n += arg[int](c, 0); n < 0 {
		return nil, fmt.Errorf("account %s has not so much", c.Object())
	}
	c.Put(balance, encode(n))
	return encode(n), nil
}

func transfer(c *servicetest.Context) ([]byte, error) {
	amount := arg[int](c, 2)
	if _, err := c.Call(wire.Target{Service: "bank", Object: arg[string](c, 1), Method: "add"}, encode(amount)); err != nil {
		return nil, err
	}
	_, err := c.Call(wire.Target{Service: "bank", Object: arg[string](c, 0), Method: "add"}, encode(-amount))
	return []byte("null"), err
}

// escape tries to get out of the sandbox, and says what has worked. At a port of the host
// somebody listens.
func escape(port int) (worked []string) {
	try := func(what string, ok bool) {
		if ok {
			worked = append(worked, what)
		}
	}
	for _, path := range []string{"/etc/passwd", "../../etc/passwd", "/proc/self/environ", "/proc/self/fd/0", "/dev/kmsg", "/dev/stdin"} {
		_, err := os.ReadFile(path)
		try("read "+path, err == nil)
	}
	for _, path := range []string{"/", ".", "/tmp"} {
		_, err := os.ReadDir(path)
		try("list "+path, err == nil)
		try("write below "+path, os.WriteFile(path+"/weft-escape", nil, 0o644) == nil)
	}
	stream, err := strconv.Atoi(os.Getenv(wire.FD))
	try("find no stream", err != nil)
	for fd := range 64 {
		if fd > 2 && fd != stream {
			_, err := os.NewFile(uintptr(fd), "other").Stat()
			try(fmt.Sprint("descriptor ", fd), err == nil)
		}
	}
	conn, err := net.DialTimeout("tcp", fmt.Sprint("127.0.0.1:", port), time.Second)
	if err == nil {
		conn.Close()
	}
	try("dial", err == nil)
	try("dial by weft", dialed("127.0.0.1", port))
	_, err = os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
	try("start a program", err == nil)
	return worked
}

func main() {
	servicetest.Main(servicetest.Methods{
		"bank.add": add,
		"bank.get": func(c *servicetest.Context) ([]byte, error) {
			if text := c.Get(balance); text != nil {
				return text, nil
			}
			return []byte("0"), nil
		},
		"teller.transfer": transfer,
		"teller.elsewhere": func(c *servicetest.Context) ([]byte, error) {
			return c.Call(wire.Target{Service: "other.bank", Object: "a", Method: "get"})
		},
		"teller.fail":  func(*servicetest.Context) ([]byte, error) { return nil, errors.New("it does not work") },
		"teller.abort": func(*servicetest.Context) ([]byte, error) { return nil, errors.New("ABORT") },
		"teller.exit": func(*servicetest.Context) ([]byte, error) {
			fmt.Fprintln(os.Stderr, "gone fishing")
			os.Exit(3)
			return nil, nil
		},
		"teller.return": func(*servicetest.Context) ([]byte, error) {
			os.Exit(0)
			return nil, nil
		},
		"teller.panic": func(*servicetest.Context) ([]byte, error) { panic("it is broken") },
		"teller.crash": func(*servicetest.Context) ([]byte, error) {
			go panic("beyond help") // nobody recovers from it
			time.Sleep(time.Hour)
			return nil, nil
		},
		"sloth.spin": func(*servicetest.Context) ([]byte, error) {
			for n := uint64(1); ; n = n*n + 1 {
				if n == 0 {
					return nil, nil
				}
			}
		},
		"vault.hog": func(*servicetest.Context) ([]byte, error) {
			for {
				more := make([]byte, 1<<20)
				for i := range more {
					more[i] = 1
				}
				hoard = append(hoard, more)
			}
		},
		"teller.babble": func(*servicetest.Context) ([]byte, error) {
			fd, err := strconv.Atoi(os.Getenv(wire.FD))
			if err != nil {
				return nil, err
			}
			if _, err := os.NewFile(uintptr(fd), "frames").Write(bytes.Repeat([]byte{0xff}, 100)); err != nil {
				return nil, err
			}
			time.Sleep(time.Hour)
			return nil, nil
		},
		"teller.deaf": func(c *servicetest.Context) ([]byte, error) {
			fd, err := strconv.Atoi(os.Getenv(wire.FD))
			if err != nil {
				return nil, err
			}
			c.Put(balance, make([]byte, 512<<10))
			node := os.NewFile(uintptr(fd), "frames")
			for range 200 {
				if _, err := node.Write(wire.Pack(nil, &wire.Read{Question: c.Question(), Keys: []wire.Key{balance}})); err != nil {
					return nil, err
				}
			}
			time.Sleep(time.Hour)
			return nil, nil
		},
		"teller.escape": func(c *servicetest.Context) ([]byte, error) { return encode(escape(arg[int](c, 0))), nil },
		"teller.hang": func(*servicetest.Context) ([]byte, error) {
			time.Sleep(time.Hour)
			return nil, nil
		},
		"teller.self": func(*servicetest.Context) ([]byte, error) { return encode(self), nil },
		"teller.echo": func(c *servicetest.Context) ([]byte, error) {
			return encode(strings.Repeat(arg[string](c, 0), arg[int](c, 1))), nil
		},
		"teller.later": func(c *servicetest.Context) ([]byte, error) {
			if err := c.Sleep(time.Duration(arg[int](c, 0)) * time.Millisecond); err != nil {
				return nil, err
			}
			return c.Call(wire.Target{Service: "bank", Object: arg[string](c, 1), Method: "add"}, encode(arg[int](c, 2)))
		},
		"teller.ask": func(c *servicetest.Context) ([]byte, error) {
			list, err := c.Await(c.Promise("answer"))
			if err != nil {
				return nil, err
			}
			return list[0].Data, nil
		},
		"teller.edition": func(*servicetest.Context) ([]byte, error) { return encode(os.Getenv("EDITION")), nil },
		"teller.loyal": func(c *servicetest.Context) ([]byte, error) {
			name := "go"
			if os.Getenv("EDITION") == "changed" {
				name = "start"
			}
			if _, err := c.Await(c.Promise(name)); err != nil {
				return nil, err
			}
			other, err := c.Await(c.Go(wire.Target{Service: "teller", Method: "edition"}), c.Go(wire.Target{Service: "teller", Method: "edition"}))
			if err != nil {
				return nil, err
			}
			return encode(os.Getenv("EDITION") + string(other[0].Data) + string(other[1].Data)), nil
		},
		"teller.open": func(c *servicetest.Context) ([]byte, error) {
			c.Begin()
			_, err := c.Call(wire.Target{Service: "bank", Object: "locked", Method: "add"}, []byte("1"))
			time.Sleep(time.Hour)
			return nil, err
		},
	})
}
