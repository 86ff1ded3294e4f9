package app

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeTable writes a table into the folder apps, beside specs with the files a.py, b_c.py and x.py.
func writeTable(t *testing.T, name, text string) string {
	t.Helper()
	dir := t.TempDir()
	for path, text := range map[string]string{"specs/a.py": "", "specs/b_c.py": "", "specs/x.py": "", "apps/near.py": "", "apps/" + name: text} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "apps", name)
}

func TestTablesAreApps(t *testing.T) {
	path := writeTable(t, "Hotel_reservation.csv", "\ufeffA,specs/a.py\n\n# another one\nBackCall, ./specs/b_c.py \r\n\"X\",\"specs/x.py\"\n")
	a, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if a.Name != "hotel-reservation" || a.Dir != filepath.Dir(filepath.Dir(path)) || a.File != path || len(a.Services) != 3 {
		t.Errorf("the app is %q in %s with %d services", a.Name, a.Dir, len(a.Services))
	}
	s := a.Services["bc"]
	if s == nil || s.Code.Runtime != RuntimePython || s.Code.Source != "specs/b_c.py" || s.Code.Handler != "b_c:BackCall" || s.Keyed {
		t.Errorf("the service bc is %+v", s)
	}
	again, err := Parse("weft.yaml", a.Text)
	if err != nil || len(again.Services) != 3 {
		t.Errorf("its app file: %v\n%s", err, a.Text)
	}
	if a, err = Load(writeTable(t, "near.csv", "Near,near.py\n")); err != nil || filepath.Base(a.Dir) != "apps" {
		t.Errorf("a file beside the table: %v, %v", a, err)
	}
}

func TestWrongTables(t *testing.T) {
	for _, test := range []struct {
		name, text string
		wants      []string // LINE: words
	}{
		{"a.csv", "", []string{":0: the table has no service"}},
		{"a.csv", "# A,specs/a.py\n", []string{":0: the table has no service"}},
		{"a.csv", "A,specs/a.py\nB\n", []string{":2: the line has 1 fields, not 2"}},
		{"a.csv", "A,specs/a.py,c\n", []string{":1: the line has 3 fields, not 2"}},
		{"a.csv", "A,specs/a.py\n\"B\n", []string{":2: extraneous or missing \" in quoted-field"}},
		{"a.csv", "2A,specs/a.py\nA B,specs/x.py\n", []string{`:1: "2A" is not the name of a class`, `:2: "A B" is not the name of a class`}},
		{"a.csv", "A,specs/a.txt\nB,specs/a-b.py\n", []string{`:1: "specs/a.txt" is not a file that Python can import`, `:2: "specs/a-b.py" is not`}},
		{"a.csv", "A,specs/a.py\n\nB,other/a.py\n", []string{":3: service a is in line 1 already"}},
		{"a.csv", "A,specs/a.py\nB,specs/none.py\n", []string{":2: there is no file specs/none.py"}},
		{"a.csv", "A,specs/_.py\n", []string{`:1: a service cannot be called ""`}},
		{"+.csv", "A,specs/a.py\n", []string{":0: "}},
	} {
		_, err := Load(writeTable(t, test.name, test.text))
		var errs Errors
		if !errors.As(err, &errs) || len(errs) != len(test.wants) {
			t.Errorf("%q: %v, want %q", test.text, err, test.wants)
			continue
		}
		for i, e := range errs {
			place, words, _ := strings.Cut(strings.TrimPrefix(test.wants[i], ":"), ": ")
			if got := []string{"0", "1", "2", "3"}[e.Line]; got != place || !strings.Contains(e.Message, words) || e.Hint == "" && words != "" {
				t.Errorf("%q: line %s: %s (%s), want %s", test.text, got, e.Message, e.Hint, test.wants[i])
			}
		}
	}
}

// Whatever a table says, what comes of it is an app file, or an error with a place in it.
func FuzzTable(f *testing.F) {
	f.Add("A,specs/a.py\nB,b.py\n")
	f.Add("\"A\n,,")
	f.Add("A,a.py\r\n#x\nÄ,ä.py\n")
	f.Fuzz(func(t *testing.T, text string) {
		rows, errs := readTable("a.csv", []byte(text))
		if len(errs) > 0 {
			for _, e := range errs {
				if e.Message == "" || e.Line < 0 {
					t.Errorf("%+v", e)
				}
			}
			return
		}
		a, err := Parse("a.csv", appOfTable("a.csv", rows))
		if list := (Errors)(nil); err != nil && !errors.As(err, &list) || err == nil && len(a.Services) != len(rows) {
			t.Errorf("%q: %v", text, err)
		}
	})
}
