package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// socket is a listener with the address that clients use.
type socket struct {
	net.Listener
	address string // "unix:///run/weft.sock", "https://host:port"
}

// listen opens the unix socket and those of the configuration.
func (s *server) listen() (all []*socket, err error) {
	defer func() {
		if err != nil {
			for _, l := range all {
				l.Close()
			}
			all = nil
		}
	}()
	l, err := listenUnix(s.cfg.SocketPath())
	if err != nil {
		return all, err
	}
	all = append(all, l)
	if len(s.cfg.Listen) == 0 {
		return all, nil
	}
	var secure *tls.Config
	scheme := "http"
	if s.cfg.TLS.Cert != "" {
		c := &certificate{cert: s.cfg.TLS.Cert, key: s.cfg.TLS.Key}
		if _, err := c.get(nil); err != nil {
			return all, err
		}
		secure, scheme = &tls.Config{GetCertificate: c.get, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}, "https"
	}
	for _, address := range s.cfg.Listen {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return all, fmt.Errorf("listen at %s: %w", address, err)
		}
		if ip := l.Addr().(*net.TCPAddr).IP; secure == nil && !ip.IsLoopback() {
			s.log.Warn("tokens travel unencrypted: give tls.cert and tls.key", "address", l.Addr().String())
		}
		where := scheme + "://" + l.Addr().String()
		if secure != nil {
			l = tls.NewListener(l, secure)
		}
		all = append(all, &socket{l, where})
	}
	return all, nil
}

// socketPathMax is how many bytes the path of a unix socket can have: sun_path in
// unix(7), with the zero at its end.
const socketPathMax = 107

// listenUnix makes a socket that the user alone can connect to. One that a dead
// server has left is replaced.
func listenUnix(path string) (*socket, error) {
	if len(path) > socketPathMax {
		return nil, fmt.Errorf("listen at %s: the path is too long for a unix socket, which can have %d bytes: give a shorter one as socket in the configuration", path, socketPathMax)
	}
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("listen at %s: another server answers there", path)
	}
	if st, err := os.Lstat(path); err == nil && st.Mode().Type() != os.ModeSocket {
		return nil, fmt.Errorf("listen at %s: there is a file that is no socket; give another path as socket in the configuration", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	defer folder.Close()
	// It gets its name when its mode is right. Until then its path may be too long,
	// unless it begins with the descriptor of its folder.
	name := fmt.Sprintf(".weft-%d.sock", os.Getpid())
	tmp := filepath.Join(filepath.Dir(path), name)
	os.Remove(tmp) // of a dead process with this number
	l, err := net.Listen("unix", fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), name))
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	err = os.Chmod(tmp, 0o600)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen at %s: %w", path, err), l.Close(), os.Remove(tmp))
	}
	return &socket{&unixListener{l, path}, "unix://" + path}, nil
}

// unixListener removes its socket when it is closed.
type unixListener struct {
	net.Listener
	path string
}

func (l *unixListener) Close() error {
	os.Remove(l.path) // it may be gone
	return l.Listener.Close()
}

// certificate reads a certificate again when its files have changed, so that it
// can be renewed without a restart.
type certificate struct {
	cert, key string

	mu      sync.Mutex
	current *tls.Certificate
	changed time.Time // the later one of both files
	looked  time.Time
}

// lookEvery is how often the files are looked at.
const lookEvery = 10 * time.Second

// get implements tls.Config.GetCertificate. Files that cannot be read any more
// leave the certificate as it is.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.current != nil && now.Sub(c.looked) < lookEvery {
		return c.current, nil
	}
	c.looked = now
	changed, err := latest(c.cert, c.key)
	if err == nil && (c.current == nil || !changed.Equal(c.changed)) {
		var pair tls.Certificate
		if pair, err = tls.LoadX509KeyPair(c.cert, c.key); err == nil {
			c.current, c.changed = &pair, changed
		}
	}
	if c.current == nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	return c.current, nil
}

// latest is when the last one of some files was changed.
func latest(files ...string) (time.Time, error) {
	var t time.Time
	for _, f := range files {
		st, err := os.Stat(f)
		if err != nil {
			return t, err
		}
		if st.ModTime().After(t) {
			t = st.ModTime()
		}
	}
	return t, nil
}
