package buffer

import (
	"errors"
	"os"
	"syscall"
	"testing"
)

// A process that is forked without CLONE_VM, as Go does for a user namespace, has
// a copy of every mapping until it has another program or is gone. It must not
// have one of a segment that is being made ready, or whoever gets that segment
// cannot seal it.
func TestForksDoNotKeepSegmentsMapped(t *testing.T) {
	fork := func() error {
		_, _, err := syscall.StartProcess("/proc/self/weft-no-such-program", []string{"none"}, &syscall.ProcAttr{
			Sys: &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}},
			}})
		return err
	}
	if err := fork(); !errors.Is(err, syscall.ENOENT) {
		t.Skipf("no user namespaces: %v", err)
	}
	p := NewSupply(SupplyOptions{Classes: []int64{1 << 20}, Count: 2})
	defer p.Close()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = fork()
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	for n := range 2000 {
		s, err := p.Get(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = s.WriteAt([]byte("x"), 0); err == nil {
			err = s.Seal()
		}
		s.Release()
		if err != nil {
			t.Fatalf("segment %d: %v", n, err)
		}
	}
}
