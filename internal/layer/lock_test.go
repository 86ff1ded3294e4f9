package layer

import (
	"reflect"
	"strings"
	"testing"
)

var sum = strings.Repeat("a", 64)

func TestParseLock(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":  {`{"format": 1, "python": []}`, ""},
		"text":   {`x`, "invalid character"},
		"newer":  {`{"format": 2}`, "its format is 2, this weft reads 1"},
		"path":   {`{"format": 1, "python": [{"wheels": [{"file": "../a-1-py3-none-any.whl", "sha256": "` + sum + `"}]}]}`, "is not the name of a wheel"},
		"source": {`{"format": 1, "python": [{"wheels": [{"file": "a-1.tar.gz", "sha256": "` + sum + `"}]}]}`, "is not the name of a wheel"},
		"sum":    {`{"format": 1, "python": [{"wheels": [{"file": "a-1-py3-none-any.whl", "sha256": "../.."}]}]}`, "is not the SHA-256 of"},
		"order": {`{"format": 1, "python": [{"wheels": [{"file": "b-1-py3-none-any.whl", "sha256": "` + sum + `"}, {"file": "a-1-py3-none-any.whl", "sha256": "` + sum + `"}]}]}`,
			"not in the order"},
	} {
		_, err := ParseLock([]byte(c.text))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func FuzzParseLock(f *testing.F) {
	f.Add([]byte(`{"format": 1, "python": [{"requirements": "r", "digest": "d", "python": "p", "wheels": [{"file": "a-1-py3-none-any.whl", "sha256": "` + sum + `"}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := ParseLock(text)
		if err != nil {
			return
		}
		again, err := l.Text()
		if err != nil {
			t.Fatal(err)
		}
		if len(again) > maxLock {
			return
		}
		m, err := ParseLock(again)
		if err != nil {
			t.Fatalf("%v: %s", err, again)
		}
		if third, err := m.Text(); err != nil || !reflect.DeepEqual(third, again) {
			t.Errorf("%s becomes %s", again, third)
		}
	})
}

func FuzzPlaced(f *testing.F) {
	for _, name := range []string{"a/b.py", "a-1.data/purelib/x", "a-1.data/scripts/x", "../x", "/x", "a/../../x"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		to, wanted, err := placed(name)
		if err == nil && wanted && (to == "" || strings.HasPrefix(to, "/") || strings.HasPrefix(to, "../") || strings.Contains(to, "/../") || to == "..") {
			t.Errorf("%q goes to %q", name, to)
		}
	})
}
