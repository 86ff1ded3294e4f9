package yamlfile

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// values is an object with a value of every kind.
type values struct {
	text    string
	on      bool
	number  int
	ratio   float64
	time    time.Duration
	size    int64
	list    []string
	names   []string
	word    string
	nothing bool
}

type valueField = Field[*Reader, values]

var valueFields = []valueField{
	{Name: "text", Read: func(r *Reader, n *Node, v *values) { v.text = r.Text(n, "a string") }},
	{Name: "on", Read: func(r *Reader, n *Node, v *values) { v.on = r.Boolean(n) }},
	{Name: "number", Read: func(r *Reader, n *Node, v *values) { v.number = r.Integer(n, 1, 9) }},
	{Name: "ratio", Read: func(r *Reader, n *Node, v *values) { v.ratio = r.Float(n, 0, 1) }},
	{Name: "time", Read: func(r *Reader, n *Node, v *values) { v.time = r.Duration(n, 0, 48*time.Hour) }},
	{Name: "size", Read: func(r *Reader, n *Node, v *values) { v.size = r.Size(n, 0, 1<<30) }},
	{Name: "list", Read: func(r *Reader, n *Node, v *values) {
		r.List(n, "a list of strings", func(item *Node) { v.list = append(v.list, r.Text(item, "a string")) })
	}},
	{Name: "names", Read: func(r *Reader, n *Node, v *values) {
		r.Each(n, "things", 2, func(e Entry) { v.names = append(v.names, e.Name) })
	}},
	{Name: "word", Read: func(r *Reader, n *Node, v *values) { v.word = r.Choice(n, "word", "left", "right") }},
	{Name: "nothing", Null: true, Read: func(r *Reader, n *Node, v *values) { v.nothing = n.Kind == Null }},
}

var testForm = Form{Name: "a test file", Empty: "write something", First: "begin with text", Large: "write less", Many: "split it"}

func readValues(src string) (values, error) {
	r := NewReader("f.yaml", testForm)
	var v values
	if root := r.Document([]byte(src)); root != nil {
		ReadFields(r, root, "the test file", valueFields, &v)
	}
	return v, r.Result()
}

func TestValues(t *testing.T) {
	v, err := readValues("text: a\non: true\nnumber: 3.0\nratio: 1\ntime: 1d12h\nsize: 1KiB\nlist: [x, y]\nnames: {a: 1, b: 2}\nword: left\nnothing:\n")
	if err != nil {
		t.Fatal(err)
	}
	if v.text != "a" || !v.on || v.number != 3 || v.ratio != 1 || v.time != 36*time.Hour || v.size != 1024 ||
		strings.Join(v.list, "") != "xy" || strings.Join(v.names, "") != "ab" || v.word != "left" || !v.nothing {
		t.Errorf("got %+v", v)
	}
	if v, err := readValues("time: 0\nsize: 0\n"); err != nil || v.time != 0 || v.size != 0 {
		t.Errorf("zeros: got %+v, %v", v, err)
	}
}

// Each file has one thing that is wrong with it, and a place for it.
func TestErrors(t *testing.T) {
	for _, test := range []struct{ src, want, hint string }{
		{"", "f.yaml: file is empty", "write something"},
		{"- a", "f.yaml:1:1: a test file is a mapping; found a list", "begin with text"},
		{"x: \x00\xff", "f.yaml:1:5: file is not text: byte 0xff is not UTF-8", "a test file is YAML text"},
		{strings.Repeat("#", MaxSize+1), "f.yaml: file has 1048577 bytes; the limit is 1048576", "write less"},
		{"txet: a", `f.yaml:1:1: unknown key "txet" in the test file`, `did you mean "text"?`},
		{"text:", `f.yaml:1:1: key "text" has no value`, "give it a value or remove the key"},
		{"text: 5", "f.yaml:1:7: text: want a string; found the number 5", "quote it to make it a string"},
		{"on: \"true\"", "f.yaml:1:5: on: want true or false; found the string \"true\"", "remove the quotes"},
		{"on: 1", "f.yaml:1:5: on: want true or false; found the number 1", ""},
		{"number: 10", "f.yaml:1:9: number: want a whole number from 1 to 9; found the number 10", ""},
		{"number: \"5\"", "f.yaml:1:9: number: want a whole number from 1 to 9; found the string \"5\"", "remove the quotes"},
		{"ratio: 1.5", "f.yaml:1:8: ratio: want a number from 0 to 1; found the number 1.5", ""},
		{"time: 5", "f.yaml:1:7: time: want a duration from 0s to 2d; found the number 5", "did you mean 5s?"},
		{"time: 3d", "f.yaml:1:7: time: want a duration from 0s to 2d; found the string \"3d\"", ""},
		{"size: 5", "f.yaml:1:7: size: want a size from 0B to 1GiB; found the number 5", "write a number with a unit: 64KiB, 256MiB or 1.5GiB"},
		{"size: 2GiB", "f.yaml:1:7: size: want a size from 0B to 1GiB; found the string \"2GiB\"", ""},
		{"list: a", "f.yaml:1:7: list: want a list of strings; found the string \"a\"", "write [a]"},
		{"names: {a: 1, b: 1, c: 1}", "f.yaml:1:21: more than 2 things", "split it"},
		{"names: [a]", "f.yaml:1:8: names: want a mapping from names to things; found a list", ""},
		{"word: rihgt", `f.yaml:1:7: unknown word "rihgt": want left or right`, `did you mean "right"?`},
		{"text: a\ntext: b", `f.yaml:2:1: key "text" is given twice; first in line 1`, "remove one of the two"},
		{"text: !!str a", "f.yaml:1:7: YAML tag !!str is not supported", "leave the tag out; quote the value to make it a string"},
	} {
		_, err := readValues(test.src)
		var list Errors
		if !errors.As(err, &list) || len(list) != 1 || list[0].Error() != test.want || list[0].Hint != test.hint {
			t.Errorf("%.60q: got %v\nwant %s\nhint: %s", test.src, err, test.want, test.hint)
		}
	}
}

func TestErrorsComeInTheOrderOfTheFile(t *testing.T) {
	r := NewReader("f.yaml", testForm)
	root := r.Document([]byte("a: 1\nb: 2\n"))
	r.Errorf(root.Entries[1].At, "", "second")
	r.Errorf(root.Entries[0].At, "", "first")
	r.Errorf(root.Entries[0].At, "", "first")
	r.Errorf(Span{}, "", "all")
	want := "f.yaml: all\nf.yaml:1:1: first\n    1 | a: 1\n      | ^\nf.yaml:2:1: second\n    2 | b: 2\n      | ^"
	if err := r.Result(); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestEmptyFileMayBeAMapping(t *testing.T) {
	r := NewReader("f.yaml", Form{Name: "a test file"})
	if root := r.Document([]byte("# nothing\n")); root == nil || root.Kind != Mapping || r.Result() != nil {
		t.Errorf("got %+v, %v", root, r.Result())
	}
}

func TestSource(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.yaml")
	if err := os.WriteFile(path, make([]byte, 2*MaxSize), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := Source(path); err != nil || len(data) != MaxSize+1 {
		t.Errorf("got %d bytes, %v", len(data), err)
	}
	if _, err := Source(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestDurations(t *testing.T) {
	for _, test := range []struct {
		text string
		want time.Duration // -1: refused
	}{
		{"100ms", 100 * time.Millisecond}, {"1h30m", 90 * time.Minute}, {"7d", 168 * time.Hour}, {"1.5d", 36 * time.Hour}, {".5d", 12 * time.Hour},
		{"1d12h", 36 * time.Hour}, {"12h1d", 36 * time.Hour}, {"0", 0},
		{"", -1}, {"d", -1}, {"7", -1}, {"7days", -1}, {"1e3d", -1}, {"1w", -1}, {"200000d", -1}, {strings.Repeat("9", 400) + "d", -1},
	} {
		got, err := ParseDuration(test.text)
		if (err == nil) != (test.want >= 0) || err == nil && got != test.want {
			t.Errorf("ParseDuration(%.20q) = %v, %v, want %v", test.text, got, err, test.want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", time.Hour: "1h", 24 * time.Hour: "24h", 48 * time.Hour: "2d", 49 * time.Hour: "49h", 90 * time.Minute: "1h30m", time.Millisecond: "1ms",
	} {
		if got := WriteDuration(d); got != want {
			t.Errorf("WriteDuration(%d) = %s, want %s", d, got, want)
		}
		if back, err := ParseDuration(WriteDuration(d)); err != nil || back != d {
			t.Errorf("%v is read as %v, %v", d, back, err)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, tt := range []struct {
		text string
		want int64 // -1: refused
	}{
		{"65536", 65536}, {"64KiB", 64 << 10}, {"1.5GiB", 3 << 29}, {"5 MiB", 5 << 20}, {"10B", 10}, {"1MB", 1e6}, {"0", 0},
		{"99999999999999GiB", math.MaxInt64},
		{"", -1}, {"MiB", -1}, {"-1MiB", -1}, {"1TiB", -1}, {"NaN", -1}, {"inf", -1}, {"1e3", -1}, {"0x10", -1}, {"1_000", -1}, {"1KiB2", -1},
	} {
		got, err := ParseSize(tt.text)
		if (err == nil) != (tt.want >= 0) || err == nil && got != tt.want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", tt.text, got, err, tt.want)
		}
	}
}
