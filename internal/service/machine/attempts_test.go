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

// Attempts are those of a segment: a request that fails now and then, and comes further each
// time, is not parked, however long it lives. One that fails at the same place is.
func TestAttemptsAreThoseOfASegment(t *testing.T) {
	failures := map[string]int{}
	once := func(where string, times int) {
		if failures[where]++; failures[where] <= times {
			panic(where)
		}
	}
	w := newWorld(t, 1, machine.Options{Attempts: 10, Backoff: time.Nanosecond}, map[string]servicetest.Method{
		"s.runs": func(c *servicetest.Context) ([]byte, error) {
			for i := range 5 {
				if _, err := c.Run(fmt.Sprint(i), func(string) ([]byte, error) { return nil, nil }); err != nil {
					return nil, err
				}
				once(fmt.Sprint("run ", i), 4)
			}
			return nil, nil
		},
		"s.waits": func(c *servicetest.Context) ([]byte, error) {
			for i := range 5 {
				if err := c.Sleep(time.Hour); err != nil {
					return nil, err
				}
				once(fmt.Sprint("wait ", i), 4)
			}
			return nil, nil
		},
		"s.continues": func(c *servicetest.Context) ([]byte, error) {
			n := number(c.Arg(0))
			once(fmt.Sprint("generation ", n), 4)
			if n < 5 {
				c.Continue(bytesOf(n + 1))
			}
			return nil, nil
		},
		"s.stuck": func(c *servicetest.Context) ([]byte, error) {
			if _, err := c.Run("effect", func(string) ([]byte, error) { return nil, nil }); err != nil {
				return nil, err
			}
			panic("always")
		},
	})
	w.parked = map[string]string{}
	for _, method := range []string{"runs", "waits", "continues"} {
		w.client(method, record.Call{To: to(method), Args: [][]byte{bytesOf(0)}})
		c := w.clients[len(w.clients)-1]
		w.until("the result of "+method, func() bool { return len(c.answers) > 0 })
		if v := c.answers[0]; v.Code != wire.OK {
			t.Errorf("%s: %v %s", method, v.Code, v.Text)
		}
	}
	w.client("stuck", record.Call{To: to("stuck")})
	w.until("the end of the attempts", func() bool { return w.parked["stuck"] != "" })
	if why := w.parked["stuck"]; !strings.HasPrefix(why, "10 attempts, the last one: ") {
		t.Errorf("stuck: %s", why)
	}
}
