package server

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A socket has the longest path that clients can connect to, and no longer one.
func TestPathsOfSockets(t *testing.T) {
	dir, err := os.MkdirTemp("", "sock") // names of tests are long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for name, base := range map[string]string{
		"short":        "s",
		"spaces":       "a b \"c\"",
		"the longest":  strings.Repeat("x", socketPathMax-len(dir)-1),
		"a long name":  strings.Repeat("y", socketPathMax-len(dir)-1-3) + "/s",
		"one too long": strings.Repeat("z", socketPathMax-len(dir)),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, base)
			l, err := listenUnix(path)
			if len(path) > socketPathMax {
				if err == nil || !strings.Contains(err.Error(), "too long for a unix socket") {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			c, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", st, err)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 1 || len(left) == 1 && !left[0].IsDir() {
				t.Errorf("left: %v", left)
			}
		})
	}
}
