package auth

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// peer is who is at the other end of a unix socket.
type peer struct {
	uid uint32
	err error // it could not be found out
}

type peerKey struct{}

// ConnContext is for http.Server's field of that name: it notes who is at the
// other end of a connection over a unix socket, for Guard.Check. The kernel says
// who it was that connected (SO_PEERCRED, unix(7)); nothing that is sent can
// change it. Other connections have no such peer.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	p := &peer{}
	p.uid, p.err = peerUID(u)
	return context.WithValue(ctx, peerKey{}, p)
}

func peerUID(c syscall.Conn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var optErr error
	if err = raw.Control(func(fd uintptr) {
		cred, optErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err == nil {
		err = optErr
	}
	if err != nil {
		return 0, fmt.Errorf("read the user of the peer: %w", err)
	}
	return cred.Uid, nil
}

// identity says who a peer is if weft runs as user own.
func (p *peer) identity(own int) (Identity, error) {
	if p.err != nil {
		return Identity{}, refuseForbidden("weft cannot tell who is at the other end of the socket: " + p.err.Error())
	}
	if p.uid != 0 && int64(p.uid) != int64(own) {
		return Identity{}, refuseForbidden(fmt.Sprintf("user %d may not use this socket, only user %d and root may; use a token over HTTP", p.uid, own))
	}
	return Identity{Name: fmt.Sprintf("uid %d", p.uid), Role: Admin}, nil
}

// peerOf is the peer that ConnContext has noted, nil if there is none.
func peerOf(ctx context.Context) *peer {
	p, _ := ctx.Value(peerKey{}).(*peer)
	return p
}

// self is the user that weft runs as.
func self() int { return os.Geteuid() }
