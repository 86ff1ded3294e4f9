package node_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// The disk is full while clients call methods: the server stops rather than to answer what it
// cannot keep. Once there is room, who asks again under the same key finds that each
// request has happened once, and what was answered stays.
func TestServicesOnAFullDisk(t *testing.T) {
	dir := smallDisk(t, "32m")
	s := serveBeside(t, dir)
	deploy(t, s, bankApp(t, "native", ""))
	mustCall(t, s, "k0", "bank/full.add", "1")
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	const clients = 4
	answered := make([]map[int]string, clients)
	asked := make([]int, clients)
	var all sync.WaitGroup
	for c := range clients {
		answered[c] = map[int]string{}
		all.Go(func() {
			for n := 1; n < 50_000; n++ {
				k := n*clients + c
				asked[c] = k
				got, err := call(s, fmt.Sprint("k", k), "bank/full.add", "1")
				if err != nil {
					return
				}
				answered[c][k] = got
			}
			t.Error("the disk is full, and all requests are answered")
		})
	}
	all.Wait()
	select {
	case err := <-s.Failed():
		if !errors.Is(err, unix.ENOSPC) {
			t.Errorf("the server stops with %v", err)
		}
	default:
		t.Error("the server does not stop")
	}
	s.Close()
	if err := unix.Mount("disk", dir, "tmpfs", unix.MS_REMOUNT, "size=256m,mode=755"); err != nil {
		t.Fatal(err)
	}
	s = serveBeside(t, dir)
	sent := 1
	for c := range clients {
		for k := clients + c; k <= asked[c]; k += clients {
			got := mustCall(t, s, fmt.Sprint("k", k), "bank/full.add", "1")
			if before, ok := answered[c][k]; ok && got != before {
				t.Errorf("request %d was answered %s, and now %s", k, before, got)
			}
			sent++
		}
	}
	if got := mustCall(t, s, "", "bank/full.get"); got != strconv.Itoa(sent) {
		t.Errorf("%d requests have made %s", sent, got)
	}
}
