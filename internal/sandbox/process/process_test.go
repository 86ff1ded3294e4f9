package process

import "testing"

func TestNativeCopiesInput(t *testing.T) {
	p := newPool(t, Options{})
	t.Logf("degraded: %q", p.Degraded())
	var log logged
	r := run(t, p, Call{Function: shellFunction(t, "cat; echo note >&2; id >&2; ls / /dev /proc >&2; cat /proc/self/status /proc/self/mounts >&2"), Input: []byte("hello"), Log: log.add})
	t.Logf("%+v\n%s", r, log.text())
	if r.Failure != nil || string(r.Output) != "hello" {
		t.Errorf("%+v", r)
	}
}

func TestPythonHandler(t *testing.T) {
	p := newPool(t, Options{})
	var log logged
	f := pythonFunction(t, "def handler(event, context):\n    print('hi', context)\n    return {'n': event['n'] + 1}\n")
	r := run(t, p, Call{Function: f, Input: []byte(`{"n": 1}`), Log: log.add})
	t.Logf("%+v\n%s", r, log.text())
	if r.Failure != nil || string(r.Output) != `{"n":2}` {
		t.Errorf("%+v %v", r, r.Failure)
	}
}
