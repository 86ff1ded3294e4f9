package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/auth"
	"github.com/weft-run/weft/internal/config"
	"github.com/weft-run/weft/internal/sandbox/hostbin"
)

// patience bounds what a test waits for.
const patience = 60 * time.Second

// running is a server of a test.
type running struct {
	cfg       *config.Config
	addresses []string
	log       *lines
	end       context.CancelFunc
	result    chan error
}

// lines is a log that may be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// settings is the configuration of a server in a folder.
func settings(t *testing.T, dir string) *config.Config {
	t.Helper()
	if _, err := hostbin.Open(); errors.Is(err, hostbin.ErrAbsent) {
		t.Skip("needs the domain host: run make build")
	}
	cfg := config.Default()
	cfg.Data, cfg.Socket, cfg.Listen, cfg.Pool.Ready = filepath.Join(dir, "data"), filepath.Join(dir, "s"), []string{"127.0.0.1:0"}, 1
	return cfg
}

// folder is a temporary one whose name is short enough for sockets.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "w")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// begin starts a server and waits until it answers, or has failed.
func begin(t *testing.T, cfg *config.Config) (*running, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{cfg: cfg, log: &lines{}, end: cancel, result: make(chan error, 1)}
	ready := make(chan []string, 1)
	go func() {
		r.result <- Run(ctx, Options{Config: cfg, CacheDir: filepath.Join(filepath.Dir(cfg.Data), "cache"), Version: "1.2.3", Log: r.log, Ready: func(a []string) { ready <- a }})
	}()
	select {
	case r.addresses = <-ready:
	case err := <-r.result:
		cancel()
		return nil, err
	}
	t.Cleanup(func() {
		cancel()
		<-r.result // filled again by stop
	})
	return r, nil
}

// start starts a server that must come up.
func start(t *testing.T, cfg *config.Config) *running {
	t.Helper()
	r, err := begin(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// stop ends a server and returns what Run has returned.
func (r *running) stop(t *testing.T) error {
	t.Helper()
	r.end()
	return r.wait(t)
}

// wait waits for the end of a server.
func (r *running) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.result:
		r.result <- err
		return err
	case <-time.After(patience):
		t.Fatalf("the server does not end:\n%s", r.log)
		return nil
	}
}

// local is a client of the unix socket.
func (r *running) local() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", r.cfg.SocketPath())
	}}}
}

// token reads the first token.
func (r *running) token(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.cfg.Data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// get asks for something; the status is 0 if there is no answer.
func get(c *http.Client, url, token string) (int, string, error) {
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

// eventually tries until f is true, for as long as a test is patient.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come to be that %s", what)
		}
	}
}

func TestServe(t *testing.T) {
	cfg := settings(t, folder(t))
	r := start(t, cfg)
	if len(r.addresses) != 2 || r.addresses[0] != "unix://"+cfg.Socket || !strings.HasPrefix(r.addresses[1], "http://127.0.0.1:") {
		t.Fatalf("it listens at %v", r.addresses)
	}
	if st, err := os.Stat(cfg.Socket); err != nil || st.Mode().Perm() != 0o600 || st.Mode().Type() != os.ModeSocket {
		t.Errorf("the socket: %v, %v", st.Mode(), err)
	}
	// The socket's user is an admin, and others show a token.
	if status, text, err := get(r.local(), "http://weft/v1/tokens", ""); status != 200 {
		t.Errorf("over the socket: status %d, %v: %s", status, err, text)
	}
	tcp := r.addresses[1] + "/v1/tokens"
	if status, _, err := get(http.DefaultClient, tcp, ""); status != 401 {
		t.Errorf("over TCP without a token: status %d, %v", status, err)
	}
	if status, text, err := get(http.DefaultClient, tcp, r.token(t)); status != 200 {
		t.Errorf("with the first token: status %d, %v: %s", status, err, text)
	}
	if st, err := os.Stat(filepath.Join(cfg.Data, "admin.token")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the first token's file: %v, %v", st.Mode(), err)
	}
	if st, err := os.Stat(cfg.Data); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the data folder: %v, %v", st.Mode(), err)
	}
	if status, text, err := get(r.local(), "http://weft/v1/config", ""); status != 200 || text != string(cfg.YAML()) {
		t.Errorf("the configuration: status %d, %v: %s", status, err, text)
	}
	// A smaller role is kept over the socket too.
	res, err := r.local().Post("http://weft/v1/tokens", "application/json", strings.NewReader(`{"name": "small", "role": "read"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var made wire.MadeToken
	if err := json.NewDecoder(res.Body).Decode(&made); err != nil || made.Role != auth.Read {
		t.Fatalf("token: %+v, %v", made, err)
	}
	if status, _, err := get(r.local(), "http://weft/v1/tokens", made.Text); status != 403 {
		t.Errorf("over the socket with a token that may read: status %d, %v", status, err)
	}

	first := r.token(t)
	if err := r.stop(t); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(cfg.Socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
	r = start(t, cfg)
	if r.token(t) != first {
		t.Error("another first token was made")
	}
	if status, _, err := get(http.DefaultClient, r.addresses[1]+"/v1/version", made.Text); status != 200 {
		t.Errorf("with a token of the earlier life: status %d, %v", status, err)
	}
	if err := r.stop(t); err != nil {
		t.Fatal(err)
	}
}

// TestSecondServer refuses to use what another server uses.
func TestSecondServer(t *testing.T) {
	dir := folder(t)
	cfg := settings(t, dir)
	start(t, cfg)
	for name, c := range map[string]struct {
		change func(*config.Config)
		says   []string
	}{
		"same data folder": {func(c *config.Config) { c.Socket += "2" }, []string{cfg.Data, "another weft server uses it"}},
		"same socket":      {func(c *config.Config) { c.Data += "2" }, []string{cfg.Socket, "another server answers there"}},
	} {
		t.Run(name, func(t *testing.T) {
			other := *cfg
			c.change(&other)
			r, err := begin(t, &other)
			if err == nil {
				r.stop(t)
				t.Fatal("the second server runs")
			}
			for _, w := range c.says {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
		})
	}
	if status, _, err := get((&running{cfg: cfg}).local(), "http://weft/v1/apps", ""); status != 200 {
		t.Errorf("the first server: status %d, %v", status, err)
	}
}

// TestSockets replaces the socket that a dead server has left, and no other
// file.
func TestSockets(t *testing.T) {
	dir := folder(t)
	stale, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	cfg := settings(t, dir)
	r := start(t, cfg)
	if status, _, err := get(r.local(), "http://weft/v1/apps", ""); status != 200 {
		t.Errorf("over the socket: status %d, %v", status, err)
	}
	if err := r.stop(t); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cfg.Socket, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := begin(t, cfg); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("where a file is: %v", err)
	}
	if text, err := os.ReadFile(cfg.Socket); err != nil || string(text) != "precious" {
		t.Errorf("the file: %q, %v", text, err)
	}
	cfg.Socket = filepath.Join(dir, strings.Repeat("long/", 40), "s")
	if _, err := begin(t, cfg); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("a long path: %v", err)
	}
	cfg.Socket, cfg.Listen = filepath.Join(dir, "t"), []string{"127.0.0.1:1", "256.0.0.1:1"}
	if _, err := begin(t, cfg); err == nil || !strings.Contains(err.Error(), "listen at") {
		t.Errorf("an address that is none: %v", err)
	}
	if list, _ := filepath.Glob(filepath.Join(dir, "t*")); len(list) > 0 {
		t.Errorf("sockets are left: %v", list)
	}
}

// TestFailedStore ends the server when nothing can be promised any more.
func TestFailedStore(t *testing.T) {
	cfg := settings(t, folder(t))
	r := start(t, cfg)
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	restore := ignoreFileSize()
	defer restore()
	defer syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	res, err := r.local().Post("http://weft/v1/tokens", "application/json", strings.NewReader(`{"name": "x", "role": "read"}`))
	if err == nil {
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != 503 || !strings.Contains(string(text), "urn:weft:failed") {
			t.Errorf("status %d: %s", res.StatusCode, text)
		}
	}
	err = r.wait(t)
	if rerr := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); rerr != nil {
		t.Fatal(rerr)
	}
	if err == nil {
		t.Fatal("the server has ended without an error")
	}
	if !strings.Contains(r.log.String(), "stopping at once") {
		t.Errorf("%v; the log:\n%s", err, r.log)
	}
	// What was promised is there after a restart.
	r = start(t, cfg)
	if status, text, err := get(r.local(), "http://weft/v1/tokens", ""); status != 200 {
		t.Errorf("after a restart: status %d, %v: %s", status, err, text)
	}
	if err := r.stop(t); err != nil {
		t.Error(fmt.Errorf("stop: %w", err))
	}
}
