package node_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/registry"
)

// deployment makes a version active.
var deployment = registry.Deployment{Activate: true}

// What does not fit on the disk is refused, and the server goes on. Where it
// cannot keep a promise it stops, and keeps it once there is room again.
func TestFullDiskUnderTheDataFolder(t *testing.T) {
	dir := smallDisk(t, "24m")
	s := serveBeside(t, dir)
	deploy(t, s, "functions: {f: {source: ACTOR}}\nworkflows: {main: {steps: {put: {call: f, with: {do: \"${ .input.do }\"}}, sum: {call: f, needs: [put], with: {do: take put/data}}}, output: \"${ .sum }\"}}\n")
	if r := ended(t, s, start(t, s, map[string]any{"do": "put data 1000000"}).ID); r.Status != engine.Succeeded {
		t.Fatalf("%+v", r)
	}
	if _, _, err := s.Blobs.Upload(io.LimitReader(zeros{}, 1<<30), 1<<30); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("an upload: %v", err)
	}
	_, _, err := s.Apps.Deploy(t.Context(), filled(t, actorApp(""), 26<<20), deployment)
	var rejected *registry.RejectedError
	if !errors.Is(err, unix.ENOSPC) || errors.As(err, &rejected) {
		t.Errorf("a deployment: %v", err)
	}
	select {
	case err := <-s.Failed():
		t.Fatalf("the server stops: %v", err)
	default:
	}
	if r := ended(t, s, start(t, s, map[string]any{"do": "put data 1000000"}).ID); r.Status != engine.Succeeded {
		t.Fatalf("after that: %+v", r)
	}
	promised := start(t, s, map[string]any{"do": "put data 30000000"})
	select {
	case err := <-s.Failed():
		if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), promised.ID) {
			t.Errorf("the server stops with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the server does not notice that the disk is full")
	}
	s.Close()
	if err := unix.Mount("disk", dir, "tmpfs", unix.MS_REMOUNT, "size=256m,mode=755"); err != nil {
		t.Fatal(err)
	}
	s = serveBeside(t, dir)
	if r := ended(t, s, promised.ID); r.Status != engine.Succeeded {
		t.Errorf("what was promised: %+v", r)
	}
	s.Close()
	if err := unix.Mount("disk", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, "size=256m,mode=755"); err != nil {
		t.Fatal(err)
	}
	_, err = node.Serve(t.Context(), serverConfig(t, dir))
	wantError(t, err, "data folder "+dir, "read-only")
}

// zeros never end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// filled is the bundle of an app with a file of so many bytes beside it.
func filled(t *testing.T, yaml string, size int) io.Reader {
	t.Helper()
	return packed(t, strings.Replace(yaml, "source: ACTOR", "source: ACTOR, files: [\"./ballast::/ballast\"]", 1), "ballast", string(bytes.Repeat([]byte{0}, size)))
}
