package load

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A server that answers nothing until enough requests are there gets them all, each over a connection of its own, and
// their latencies count from when they were due.
func TestOpenDoesNotWaitForAnswers(t *testing.T) {
	const all = 20
	var came = make(chan bool, all)
	answer := make(chan bool)
	go func() {
		for range all {
			<-came
		}
		close(answer)
	}()
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		came <- true
		<-answer
		w.Write(b)
	})
	times := Spec{Rate: 1000, Count: all, Arrivals: Fixed}.Schedule()
	sent := 0
	d, err := Open(t.Context(), "unix", address, Order{Next: func() []byte { sent++; return echo }, Check: is(200, "ping")}, times)
	if err != nil || len(d.Latencies) != all || d.Opened != all || sent != all {
		t.Fatalf("%d answers over %d connections, %d sent, %v", len(d.Latencies), d.Opened, sent, err)
	}
	slowest := time.Duration(0)
	for _, took := range d.Latencies {
		slowest = max(slowest, took)
	}
	if least := times[all-1]; slowest < least || d.Took < least {
		t.Errorf("the slowest took %v, all %v: the first one has waited for the last, %v later", slowest, d.Took, least)
	}
}

func TestOpenCountsRefusals(t *testing.T) {
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/x" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		w.Write([]byte("busy"))
	})
	check := func(status int, body []byte) error {
		if status == http.StatusServiceUnavailable {
			return ErrRefused
		}
		return is(200, "pong")(status, body)
	}
	times := Spec{Rate: 1000, Count: 5}.Schedule()
	if d, err := Open(t.Context(), "unix", address, Order{Request: echo, Check: check}, times); err != nil || d.Refused != 5 || len(d.Latencies) != 0 {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := Open(t.Context(), "unix", address, Order{Request: []byte("GET / HTTP/1.1\r\nHost: weft\r\n\r\n"), Check: check}, times); err == nil {
		t.Error("a wrong answer is none")
	}
	if _, err := Open(t.Context(), "unix", address+"no", Order{Request: echo, Check: check}, times); err == nil {
		t.Error("there is no server")
	}
}

// A server that lets connections wait, more than the kernel keeps for it, gets all requests in the end.
func TestOpenWhileTheServerDoesNotAccept(t *testing.T) {
	const all = 10
	path := filepath.Join(t.TempDir(), "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 1)); err != nil {
		t.Fatal(err)
	}
	sent, full := 0, make(chan bool)
	order := Order{Check: is(200, "ping"), Next: func() []byte {
		if sent++; sent == 2 { // one more than the queue may have: the next one is refused
			close(full)
		}
		return echo
	}}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })}
	defer s.Close()
	go func() {
		<-full
		if _, err := net.Dial("unix", path); !errors.Is(err, unix.EAGAIN) {
			t.Errorf("a connection too many: %v", err)
		}
		l, err := net.FileListener(file)
		if err != nil {
			t.Error(err)
			return
		}
		s.Serve(l)
	}()
	d, err := Open(t.Context(), "unix", path, order, make([]time.Duration, all))
	if err != nil || len(d.Latencies) != all || sent != all {
		t.Errorf("%d answers, %d sent, %v", len(d.Latencies), sent, err)
	}
}
