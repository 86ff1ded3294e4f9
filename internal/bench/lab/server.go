package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/bench/load"
	"github.com/weft-run/weft/internal/build"
	"github.com/weft-run/weft/internal/bundle"
	"github.com/weft-run/weft/internal/client"
)

// Server is `weft serve` as a process of its own, over a data folder that can be served again after Kill.
type Server struct {
	program string
	dir     string // data folder
	Socket  string // path of its unix socket
	TCP     string // host:port of its TCP listener
	Token   string // of role admin
	Client  *client.Client

	command *exec.Cmd
	ended   chan struct{} // closed when the process is gone
	said    lastLines
}

// Serve starts weft over a new data folder and waits until it is ready. It is ended with the lab.
//
// The process runs a copy of the program: pages of a file that two processes run are halved between them in PSS, and this process is no part of
// what is measured.
func (l *Lab) Serve(ctx context.Context, name string) (*Server, error) {
	s := &Server{program: filepath.Join(l.Dir, "weft-"+name), dir: filepath.Join(l.Dir, name)}
	s.Socket = filepath.Join(l.Dir, name+".sock")
	if err := copyProgram(s.program, l.Program); err != nil {
		return nil, err
	}
	l.Cleanup(s.Kill)
	if _, err := s.Start(ctx); err != nil {
		return nil, err
	}
	token, err := os.ReadFile(filepath.Join(s.dir, "admin.token"))
	if err != nil {
		return nil, fmt.Errorf("read the server's token: %w", err)
	}
	s.Token = strings.TrimSpace(string(token))
	if s.Client, err = client.New(client.Options{Address: "unix://" + s.Socket}); err != nil {
		return nil, err
	}
	return s, nil
}

// copyProgram copies an executable.
func copyProgram(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy weft: %w", err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return fmt.Errorf("copy weft: %w", err)
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("copy weft: %w", err)
	}
	return nil
}

// readyEvery is the pause between two questions whether a server is ready.
const readyEvery = time.Millisecond

// readyWithin bounds how long a server may take.
const readyWithin = time.Minute

// Start starts the process and returns how long it took until the first answer 200 to GET /readyz.
func (s *Server) Start(ctx context.Context) (time.Duration, error) {
	os.Remove(s.Socket) // of a process that was killed
	s.command = exec.Command(s.program, "serve", "--data", s.dir, "--socket", s.Socket, "--listen", "127.0.0.1:0")
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is for this process, which ends the other
	log, err := s.command.StderrPipe()
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	if err := s.command.Start(); err != nil {
		return 0, fmt.Errorf("start weft serve: %w", err)
	}
	s.ended = make(chan struct{})
	address := make(chan string, 1)
	go func() {
		s.read(log, address)
		s.command.Wait() // how it ended is in what it said
		close(s.ended)
	}()
	took, err := s.ready(ctx, begun)
	if err != nil {
		return 0, errors.Join(err, s.Kill())
	}
	select {
	case s.TCP = <-address:
		return took, nil
	case <-time.After(readyWithin):
		return 0, errors.Join(fmt.Errorf("weft serve has not said where it listens: %s", s.said.String()), s.Kill())
	}
}

// read follows what the server logs, and finds the address of its TCP listener.
func (s *Server) read(log io.Reader, address chan<- string) {
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		line := lines.Text()
		s.said.add(line)
		if _, where, ok := strings.Cut(line, "address=http://"); ok {
			select {
			case address <- strings.Trim(where, `" `):
			default:
			}
		}
	}
	io.Copy(io.Discard, log) // a line that is too long must not stop the server
}

// ready waits until the server takes requests.
func (s *Server) ready(ctx context.Context, begun time.Time) (time.Duration, error) {
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		if c, err := load.Dial("unix", s.Socket, 1); err == nil {
			ok := false
			_, err = c.Run(ctx, load.Order{Request: HTTPRequest("GET", "/readyz", "", ""), Count: 1, Check: func(status int, _ []byte) error {
				ok = status == http.StatusOK
				return nil
			}})
			took := time.Since(begun)
			if err = errors.Join(err, c.Close()); err != nil {
				return 0, err
			}
			if ok {
				return took, nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-s.ended:
			return 0, fmt.Errorf("weft serve has ended: %s", s.said.String())
		}
		if time.Since(begun) > readyWithin {
			return 0, fmt.Errorf("weft serve is not ready after %v: %s", readyWithin, s.said.String())
		}
	}
}

// PID is the process that serves; between Kill and Start there is none to ask for.
func (s *Server) PID() int { return s.command.Process.Pid }

// Kill ends the process as a power cut would, and what stems from it ends with it.
func (s *Server) Kill() error {
	if s.command == nil || s.command.Process == nil {
		return nil
	}
	err := s.command.Process.Kill()
	<-s.ended
	s.command = nil
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Deploy brings an app whose functions are modules to the server.
func (s *Server) Deploy(ctx context.Context, dir string) error {
	a, err := app.Load(dir)
	if err != nil {
		return err
	}
	modules := map[string]string{}
	for name, f := range a.Functions {
		modules[name] = filepath.Join(dir, f.Source)
	}
	b, err := bundle.Collect(a, bundle.Parts{Modules: modules})
	if err != nil {
		return err
	}
	_, err = s.Client.Deploy(ctx, b, true)
	return err
}

// DeployBuilt builds an app's functions and services into a folder and deploys them.
func (s *Server) DeployBuilt(ctx context.Context, dir, cache string) error {
	a, err := app.Load(dir)
	if err != nil {
		return err
	}
	b := build.New(build.Config{CacheDir: cache})
	modules := map[string]string{}
	for name, f := range a.Units() {
		m, err := b.Build(ctx, a.Dir, build.Source{Function: name, Runtime: f.Runtime, Path: f.Source}, nil)
		if err != nil {
			return err
		}
		modules[name] = m.Path
	}
	packed, err := bundle.Collect(a, bundle.Parts{Modules: modules})
	if err != nil {
		return err
	}
	_, err = s.Client.Deploy(ctx, packed, true)
	return err
}

// Metric reads a figure of the server.
func (s *Server) Metric(ctx context.Context, name string) (float64, error) {
	t := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", s.Socket)
	}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://weft/metrics", nil)
	if err != nil {
		return 0, err
	}
	answer, err := t.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(io.LimitReader(answer.Body, 16<<20))
	for lines.Scan() {
		if number, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(number, 64)
		}
	}
	return 0, errors.Join(fmt.Errorf("the server has no figure %s", name), lines.Err())
}

// Dial opens connections to the server's listener: "tcp" or "unix".
func (s *Server) Dial(network string, connections int) (*load.Closed, error) {
	if network == "unix" {
		return load.Dial(network, s.Socket, connections)
	}
	return load.Dial(network, s.TCP, connections)
}

// HTTPRequest is one of HTTP/1.1 as it goes over the wire; an empty token is none.
func HTTPRequest(method, path, token, body string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\n", method, path)
	if token != "" {
		b.WriteString("Authorization: Bearer " + token + "\r\n")
	}
	if method != http.MethodGet {
		b.WriteString("Content-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n")
	}
	b.WriteString("\r\n" + body)
	return []byte(b.String())
}

// lastLines are the last lines that a process has said.
type lastLines struct {
	mu    sync.Mutex
	lines []string // guarded by mu
}

func (l *lastLines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lines = append(l.lines, line); len(l.lines) > 5 {
		l.lines = l.lines[1:]
	}
}

func (l *lastLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) == 0 {
		return "it said nothing"
	}
	return "it said " + strings.Join(l.lines, "; ")
}
