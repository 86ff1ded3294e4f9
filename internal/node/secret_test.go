package node_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/engine"
	"github.com/weft-run/weft/internal/node"
)

// What a secret is, only its function sees: it is in no log, error, trace,
// process listing or file, unless it is sealed.
func TestSecretsAreInvisible(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir)
	const inEnv, inFile = "sesame-of-the-environment", "sesame-of-the-file"
	for name, value := range map[string]string{"env": inEnv, "file": inFile} {
		if err := s.Secrets.Set(t.Context(), "test", name, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	deploy(t, s, actorApp(", secrets: [{name: env, env: KEY}, {name: file, file: /secrets/key}]"))
	// The function has them.
	if out := mustInvoke(t, s, "f", "env KEY;cat /secrets/key"); !strings.Contains(out, inEnv) || !strings.Contains(out, inFile) {
		t.Fatalf("the function sees %s", out)
	}
	processes(t, inEnv, inFile)
	// It says them on its way down.
	tell := "log " + inEnv + ";log " + inFile + ";exit 3"
	_, err := invoke(t.Context(), s, "f", tell)
	wantError(t, err, "3")
	hidden(t, "the failure of an invocation", err.Error(), inEnv, inFile)
	long := "log " + strings.Repeat("x", 40) + inEnv + strings.Repeat("y", 1<<10-len(inEnv)/2) + ";exit 3" // what is kept begins within it
	if _, err = invoke(t.Context(), s, "f", long); err == nil {
		t.Error("it succeeded")
	} else {
		hidden(t, "the end of a long line", err.Error(), inEnv, inEnv[len(inEnv)/2:], inEnv[len(inEnv)/2+2:])
	}
	r := ended(t, s, start(t, s, map[string]any{"do": "log " + "said;" + "exit 3"}).ID)
	if r.Status != engine.Failed {
		t.Errorf("%+v", r)
	}
	// The input of a run is kept, so what it logs comes from elsewhere here.
	deploy(t, s, "functions: {f: {source: ACTOR, secrets: [{name: env, env: KEY}, {name: file, file: /secrets/key}]}}\n"+
		"workflows: {main: {steps: {a: {call: f, with: {do: \"log sesame-of-the-${ .input.of };exit 3\"}}}}}\n")
	for _, of := range []string{"environment", "file"} {
		r := ended(t, s, start(t, s, map[string]any{"of": of}).ID)
		hidden(t, "the failure of a run", fmt.Sprintf("%+v", r.Failure), inEnv, inFile)
		trace, err := s.Runs.Trace(t.Context(), r.ID)
		if err == nil {
			hidden(t, "its trace", asJSON(t, trace), inEnv, inFile)
		}
		over := make(chan struct{})
		close(over)
		lines := 0
		for line, err := range s.Logs.Read(t.Context(), r.ID, over) {
			if err != nil {
				t.Fatal(err)
			}
			lines++
			hidden(t, "its log", line.Text, inEnv, inFile)
		}
		if lines == 0 {
			t.Error("the run has no log")
		}
	}
	var archive bytes.Buffer
	if err := s.Backup(t.Context(), &archive); err != nil {
		t.Fatal(err)
	}
	hidden(t, "the backup", archive.String(), inEnv, inFile)
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(p)
		hidden(t, p, string(text), inEnv, inFile)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// hidden demands that a text holds none of some words.
func hidden(t *testing.T, where, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if at := strings.Index(text, w); at >= 0 {
			t.Errorf("%s: %q is in it: %.200q", where, w, text[max(0, at-60):])
		}
	}
}

// processes demands that no process of this node shows some words.
func processes(t *testing.T, words ...string) {
	t.Helper()
	hosts := hostsOf(os.Getpid())
	if len(hosts) == 0 {
		t.Error("there are no domain hosts")
	}
	for _, pid := range append(hosts, os.Getpid()) {
		for _, file := range []string{"environ", "cmdline", "comm", "maps"} {
			text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), file))
			if err == nil {
				hidden(t, file, string(text), words...)
			}
		}
	}
}

// A version whose secrets are missing is refused with what to do about it.
func TestASecretThatIsMissing(t *testing.T) {
	s := serve(t, t.TempDir())
	_, _, err := s.Apps.Deploy(t.Context(), packed(t, actorApp(", secrets: [{name: key, env: KEY}]")), deployment)
	wantError(t, err, "secret key", "weft secrets set test key")
	if err := s.Secrets.Set(t.Context(), "test", "key", []byte("value")); err != nil {
		t.Fatal(err)
	}
	deploy(t, s, actorApp(", secrets: [{name: key, env: KEY}]"))
	if err := s.Secrets.Delete(t.Context(), "test", "key"); err != nil {
		t.Fatal(err)
	}
	s.Refresh("test")
	_, err = s.Invoke(t.Context(), node.InvokeRequest{App: "test", Function: "f", Body: strings.NewReader("{}"), Size: 2})
	wantError(t, err, "secret key", "weft secrets set test key")
	if err := s.Secrets.Set(t.Context(), "test", "key", []byte("other")); err != nil {
		t.Fatal(err)
	}
	s.Refresh("test")
	if out := mustInvoke(t, s, "f", "env KEY"); !strings.Contains(out, "other") {
		t.Errorf("%s", out)
	}
}
