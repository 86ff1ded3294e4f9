package client_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/client"
	"github.com/weft-run/weft/internal/engine"
)

// tell writes an event.
func tell(w http.ResponseWriter, seq uint64) {
	data, _ := json.Marshal(wire.Event{Seq: seq, Kind: "log"})
	fmt.Fprintf(w, ": comment\nid: %d\nevent: log\ndata: %s\n\n", seq, data)
	w.(http.Flusher).Flush()
}

// stutter tells of events 1 to last, two a connection.
func stutter(last uint64, asked *[]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		from := r.Header.Get("Last-Event-ID")
		*asked = append(*asked, from)
		n, _ := strconv.ParseUint(from, 10, 64)
		w.Header().Set("Content-Type", wire.TypeEvents)
		for i := n + 1; i <= min(n+2, last); i++ {
			tell(w, i)
		}
		if n+2 >= last {
			fmt.Fprintf(w, "event: end\ndata: {\"id\": \"r1\",\ndata:  \"status\": \"succeeded\"}\n\n")
			return
		}
		panic(http.ErrAbortHandler)
	}
}

func TestEventsGoOnAfterABrokenConnection(t *testing.T) {
	var asked []string
	c := serve(t, stutter(5, &asked))
	var got []uint64
	for e, err := range c.Events(t.Context(), "r1", 0) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Seq)
	}
	if !slices.Equal(got, []uint64{1, 2, 3, 4, 5}) || !slices.Equal(asked, []string{"", "2", "4"}) {
		t.Errorf("events %v, asked after %q", got, asked)
	}
	asked = nil
	run, err := c.Follow(t.Context(), "r1", 3, func(wire.Event) {})
	if err != nil || run.ID != "r1" || run.Status != engine.Succeeded || asked[0] != "3" {
		t.Errorf("followed from %q to %+v: %v", asked, run, err)
	}
}

func TestEventsCanBeLeft(t *testing.T) {
	var asked []string
	c := serve(t, stutter(100, &asked))
	for e, err := range c.Events(t.Context(), "r1", 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Seq == 3 {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range c.Events(ctx, "r1", 0) {
		cancel()
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("after cancelling: %v", last)
	}
}

func TestEventsOfNothing(t *testing.T) {
	tries := 0
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tries++
		if strings.HasSuffix(r.URL.Path, "events") {
			refuse(w, wire.Problem{Status: 404, Detail: "no such run"})
			return
		}
		fmt.Fprintln(w, "{")
	}))
	for _, err := range c.Events(t.Context(), "r1", 0) {
		if client.Status(err) != 404 {
			t.Errorf("events of nothing: %v", err)
		}
	}
	for _, err := range c.Logs(t.Context(), "r1", false) {
		if err == nil || !strings.Contains(err.Error(), "read log of run r1") {
			t.Errorf("a broken line: %v", err)
		}
	}
	if tries != 2 {
		t.Errorf("asked %d times, want once each", tries)
	}
}

func TestServerGivesUpAStream(t *testing.T) {
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tell(w, 1)
		fmt.Fprint(w, "event: error\ndata: {\"status\": 500, \"detail\": \"the journal is damaged\"}\n\n")
	}))
	n := 0
	var last error
	for _, err := range c.Events(t.Context(), "r1", 0) {
		n, last = n+1, err
	}
	if n != 2 || client.Status(last) != 500 || last.Error() != "the journal is damaged" {
		t.Errorf("%d events, then %v", n, last)
	}
}

func TestLogsGoOnAfterABrokenConnection(t *testing.T) {
	tries := 0
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/runs/r1" { // when the log has come to an end
			answer(w, 200, engine.Run{ID: "r1", Status: map[bool]engine.Status{true: engine.Succeeded, false: engine.Running}[tries > 3]})
			return
		}
		if r.URL.Query().Get("follow") != "true" {
			t.Errorf("asked %s", r.URL)
		}
		tries++
		for i := range 2 * tries {
			json.NewEncoder(w).Encode(engine.LogLine{Text: strconv.Itoa(i)})
		}
		w.(http.Flusher).Flush()
		if tries < 3 {
			panic(http.ErrAbortHandler)
		}
	}))
	var got []string
	for l, err := range c.Logs(t.Context(), "r1", true) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, l.Text)
	}
	if want := []string{"0", "1", "2", "3", "4", "5", "6", "7"}; !slices.Equal(got, want) {
		t.Errorf("lines %q, want %q", got, want)
	}
}

func FuzzMessages(f *testing.F) {
	f.Add([]byte("id: 1\nevent: log\ndata: {}\n\n: c\n\ndata:x\ndata: y\r\n\r\n"))
	f.Add([]byte("data\n\nevent: end\ndata: 1\n\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		s := bufio.NewScanner(strings.NewReader(string(src)))
		for n := 0; ; n++ {
			event, data, err := client.ReadMessage(s)
			if err != nil {
				return
			}
			if n > len(src) || len(event)+len(data) > len(src) {
				t.Fatalf("event %q data %q of %q", event, data, src)
			}
		}
	})
}
