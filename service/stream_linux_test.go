package service

import (
	"bytes"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
)

// streams are the two ends of a connection to a node.
func streams(t *testing.T) (instance io.ReadWriteCloser, node net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(fds[0]), "node")
	defer theirs.Close()
	if node, err = net.FileConn(theirs); err != nil {
		t.Fatal(err)
	}
	if instance, err = openStream(uintptr(fds[1])); err != nil {
		t.Fatal(err)
	}
	return instance, node
}

// A question and its answer, over and over, in which each side waits for the other one.
func TestStreamWaits(t *testing.T) {
	instance, node := streams(t)
	defer node.Close()
	done := make(chan error, 1)
	go func() {
		defer instance.Close()
		_, err := io.Copy(instance, instance)
		done <- err
	}()
	for size := 1; size < 20_000; size += 7 {
		sent, got := bytes.Repeat([]byte{byte(size)}, size), make([]byte, size)
		if _, err := node.Write(sent); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(node, got); err != nil || !bytes.Equal(sent, got) {
			t.Fatalf("%d bytes: they come back otherwise (%v)", size, err)
		}
	}
	node.Close()
	if err := <-done; err != nil {
		t.Fatalf("at the end of the stream: %v", err)
	}
}

// More than the connection has room for is written when there is room, and not at all when nobody reads it any more.
func TestStreamHasNoRoom(t *testing.T) {
	instance, node := streams(t)
	defer instance.Close()
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	done := make(chan error, 2)
	go func() {
		for range 2 {
			_, err := instance.Write(sent)
			done <- err
		}
	}()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(node, got); err != nil || !bytes.Equal(sent, got) {
		t.Fatalf("4 MiB come otherwise (%v)", err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	node.Close()
	if err := <-done; err == nil {
		t.Fatal("4 MiB were written that nobody reads")
	}
	if n, err := instance.Read(got); n != 0 || err == nil {
		t.Fatalf("read %d bytes from nobody: %v", n, err)
	}
}
