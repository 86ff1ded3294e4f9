package examples

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/bench/data"
	"github.com/weft-run/weft/internal/client"
	"github.com/weft-run/weft/internal/engine"
)

// site is a user with a server.
type site struct {
	t      *testing.T
	home   string
	server *exec.Cmd
}

// command is weft as that user calls it.
func (s *site) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, weft(s.t), args...)
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+s.home, "XDG_CONFIG_HOME="+s.home, "WEFT_SERVER=", "WEFT_CONTEXT=", "WEFT_TOKEN=")
	return cmd
}

// weft runs a command that has to work, and returns what it prints.
func (s *site) weft(args ...string) []byte {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Minute)
	defer cancel()
	cmd := s.command(ctx, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("weft %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out
}

// serve starts a server on the user's data and waits until it answers.
func (s *site) serve() {
	s.t.Helper()
	s.server = s.command(context.Background(), "serve", "--data", filepath.Join(s.home, "data"))
	s.server.Stderr = s.t.Output()
	if err := s.server.Start(); err != nil {
		s.t.Fatal(err)
	}
	for range 600 {
		if s.command(s.t.Context(), "apps", "list").Run() == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Fatal("the server does not answer")
}

// kill ends the server as a power cut would.
func (s *site) kill() {
	s.server.Process.Kill()
	s.server.Wait()
}

// served is a run as weft runs list -o json prints it.
type served struct {
	ID     string       `json:"id"`
	Status string       `json:"status"`
	Output data.Answers `json:"output"`
	Ended  time.Time    `json:"ended"`
}

// runs lists the runs of a kind of trigger, the newest first.
func (s *site) runs(trigger string) []served {
	s.t.Helper()
	var list []served
	if err := json.Unmarshal(s.weft("runs", "list", "--trigger", trigger, "-o", "json"), &list); err != nil {
		s.t.Fatal(err)
	}
	return list
}

// await asks until there is such a run.
func (s *site) await(trigger string, like func(served) bool) served {
	s.t.Helper()
	pause := time.Millisecond
	for until := time.Now().Add(3 * time.Minute); time.Now().Before(until); time.Sleep(pause) {
		pause = min(pause*5/4, time.Second)
		for _, r := range s.runs(trigger) {
			if like(r) {
				return r
			}
		}
	}
	s.t.Fatalf("no such run by %s: %+v", trigger, s.runs(trigger))
	return served{}
}

// begun waits until a run has begun that is not known, and returns its ID at once: a command would be too slow to see it run.
func (s *site) begun(trigger string, known map[string]bool) string {
	s.t.Helper()
	c, err := client.New(client.Options{Address: "unix://" + filepath.Join(s.home, "weft.sock")})
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.CloseIdle()
	for until := time.Now().Add(3 * time.Minute); time.Now().Before(until); time.Sleep(time.Millisecond) {
		list, _, err := c.Runs(s.t.Context(), engine.Filter{Trigger: trigger})
		if err != nil {
			s.t.Fatal(err)
		}
		for _, r := range list {
			if !known[r.ID] {
				return r.ID
			}
		}
	}
	s.t.Fatal("no run has begun")
	return ""
}

// post sends a request for a trigger, and does not care what becomes of it.
func (s *site) post(path, body string) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(s.home, "weft.sock"))
	}}}
	if r, err := client.Post("http://weft"+path, "application/json", strings.NewReader(body)); err == nil {
		r.Body.Close()
	}
}

// A server that is killed in the middle of the word count, which a request has
// started, gives the same result when it is there again; and so does cron.
func TestWordCountOnAServer(t *testing.T) {
	need(t, "clang")
	weft(t)
	t.Parallel() // cron's minute is waited for
	dir, want := withData(t, "wordcount", data.Spec{Kind: data.Text, Size: 2 << 20, Parts: 8})
	file := filepath.Join(dir, "weft.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer(`"0 3 * * *"`, `"* * * * *"`, "parts: 3, reducers: 3", "parts: 8, reducers: 2").Replace(string(text))
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(r served) {
		t.Helper()
		if got := r.Output; r.Status != "succeeded" || got.Digest != want.Digest || got.Words != want.Words || !reflect.DeepEqual(got.Top, want.Top) {
			t.Errorf("run %s %s with %+v, want %+v", r.ID, r.Status, got, *want)
		}
	}
	ended := func(r served) bool { return !r.Ended.IsZero() }

	s := &site{t: t, home: t.TempDir()}
	s.serve()
	t.Cleanup(func() { s.kill() })
	s.weft("deploy", dir, "--quiet")
	known := map[string]bool{}
	for range 10 {
		answered := make(chan bool)
		go func() {
			defer close(answered)
			s.post("/t/wordcount/count", `{"parts": 8, "reducers": 2}`)
		}()
		id := s.begun("http", known)
		known[id] = true
		s.kill()
		<-answered
		killed := time.Now()
		s.serve()
		r := s.await("http", func(r served) bool { return r.ID == id && ended(r) })
		check(r)
		if r.Ended.After(killed) {
			check(s.await("cron", ended))
			return
		}
	}
	t.Error("no run was under way when its server was killed")
}
