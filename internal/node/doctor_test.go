package node

import (
	"errors"
	"strings"
	"testing"
)

// What is to be done is about namespaces only where they are the reason.
func TestEnabling(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{errConfine{errors.New("functions that are processes need namespaces of every kind")}, "allow user namespaces"},
		{errors.New("function native could not run: user namespace: unshare: Operation not permitted"), "allow user namespaces"},
		{errors.New("function python could not run: find its namespaces in /proc, which cannot be mounted here"), "/proc that hides nothing"},
		{errors.New("no space left on device"), "what the detail names"},
		{errors.New("function native exited with status 3"), "what the detail names"},
	} {
		if got := enabling(c.err); !strings.Contains(got, c.want) {
			t.Errorf("%v: %q, want something with %q", c.err, got, c.want)
		}
	}
}
