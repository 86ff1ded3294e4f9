package baseline

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
)

// Bare is an HTTP server in a process of its own that does nothing but answer: the least that any server written with net/http costs. Close it.
type Bare struct {
	*receiver
	Address string // host:port on the loopback interface
}

// BareAnswer is the body of every answer of Bare's.
const BareAnswer = "1"

// NewBare starts the process.
func NewBare() (*Bare, error) {
	r, err := startReceiver(roleBare)
	if err != nil {
		return nil, err
	}
	port, err := readSize(r.conn)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return &Bare{r, net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}, nil
}

// PID is the number of the process.
func (b *Bare) PID() int { return b.command.Process.Pid }

// serveBare answers every request with BareAnswer, on a port that it announces over conn.
func serveBare(conn *net.UnixConn) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	if err := writeSize(conn, listener.Addr().(*net.TCPAddr).Port); err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		io.WriteString(w, BareAnswer)
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	_, err = readSize(conn) // until the other side closes
	if closed := server.Close(); closed != nil {
		return closed
	}
	if s := <-served; !errors.Is(s, http.ErrServerClosed) {
		return s
	}
	return err
}
