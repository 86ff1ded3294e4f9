package server

import (
	"net"
	"os"
)

// notify tells systemd how the service is doing (sd_notify(3)), if it was
// started by it.
func notify(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	defer c.Close()
	c.Write([]byte(state)) // nobody else could be told that it fails
}
