package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestServerThatDoesNotStart(t *testing.T) {
	l := &Lab{Dir: t.TempDir()}
	l.Program = filepath.Join(l.Dir, "no")
	if err := os.WriteFile(l.Program, []byte("#!/bin/sh\necho there is no weft >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Serve(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "there is no weft") {
		t.Errorf("error %v, want what the program has said", err)
	}
}

func TestRequest(t *testing.T) {
	const want = "POST /a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer t\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
	if got := string(HTTPRequest("POST", "/a", "t", "{}")); got != want {
		t.Errorf("%q", got)
	}
	if got := string(HTTPRequest("GET", "/a", "", "")); got != "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n" {
		t.Errorf("%q", got)
	}
}
