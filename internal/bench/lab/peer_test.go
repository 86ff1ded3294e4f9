package lab

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// script is a peer in a few lines of shell.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "peer")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPeer(t *testing.T) {
	p, err := StartPeer(t.Context(), script(t, `echo {}; while read order; do echo "$order" >&2; echo '{"micros": [1500, 2500], "seconds": 0.004}'; done`))
	if err != nil {
		t.Fatal(err)
	}
	d, err := p.Run(t.Context(), 2, 0, 1)
	if err != nil || len(d.Latencies) != 2 || d.Latencies[0] != 1500*time.Microsecond || d.Rate() != 500 {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := p.Run(t.Context(), 3, 0, 1); err == nil || !strings.Contains(err.Error(), "2 runs") {
		t.Errorf("error %v: it has done less than it was asked for", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if got := p.said.String(); !strings.Contains(got, `{"count":2,"at":1}`) {
		t.Errorf("%s, want the order", got)
	}
}

func TestPeerThatCannotRun(t *testing.T) {
	for name, test := range map[string]struct {
		program string
		missing bool
		want    string
	}{
		"absent":  {filepath.Join(t.TempDir(), "no"), true, "make peers"},
		"lacking": {script(t, `echo '{"error": "no database", "missing": true}'`), true, "no database"},
		"failing": {script(t, `echo '{"error": "disk full"}'`), false, "disk full"},
		"dying":   {script(t, "echo oh no >&2; exit 3"), false, "oh no"},
		"babble":  {script(t, "echo hello"), false, "invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := StartPeer(t.Context(), test.program)
			if err == nil || errors.Is(err, ErrNoPeer) != test.missing || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestPeerEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := StartPeer(ctx, script(t, "read order")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want that of the context", err)
	}
}
