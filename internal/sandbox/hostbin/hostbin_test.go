package hostbin

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/fstest"
)

func TestAbsentHostIsNamed(t *testing.T) {
	_, err := open(fstest.MapFS{"weft-host.md": {Data: []byte("note")}})
	if !errors.Is(err, ErrAbsent) || !strings.Contains(err.Error(), "make build") {
		t.Errorf("open without a host: %v, want ErrAbsent", err)
	}
}

func TestPresentHostIsAnExecutable(t *testing.T) {
	f, err := Open()
	if errors.Is(err, ErrAbsent) {
		t.Skip("needs the domain host: run make build")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	head := make([]byte, 4)
	if _, err := io.ReadFull(f, head); err != nil || string(head) != "\x7fELF" {
		t.Errorf("the embedded host begins with %q, %v; want an ELF file", head, err)
	}
}
