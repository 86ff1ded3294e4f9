package hostbin

import (
	"errors"
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
	b, err := Bytes()
	if errors.Is(err, ErrAbsent) {
		t.Skip("needs the domain host: run make build")
	}
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(b), "\x7fELF") {
		t.Errorf("the embedded host begins with %q, want an ELF file", b[:min(4, len(b))])
	}
}
