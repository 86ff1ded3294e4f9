package secret

import (
	"bytes"
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	tests := []struct {
		name   string
		values []string
		line   string
		want   string
	}{
		{"nothing to hide", nil, "a line", "a line"},
		{"not there", []string{"secret"}, "a line", "a line"},
		{"within", []string{"secret"}, "the secret is out", "the *** is out"},
		{"whole", []string{"secret"}, "secret", "***"},
		{"often", []string{"secret"}, "secret, secret", "***, ***"},
		{"adjoining", []string{"secret"}, "secretsecret!", "***!"},
		{"three bytes are left", []string{"abc", "abcd"}, "abc abcd", "abc ***"},
		{"empty", []string{""}, "a line", "a line"},
		{"overlap of two", []string{"abcd1234", "1234efgh"}, "-abcd1234efgh-", "-***-"},
		{"overlap with itself", []string{"abab"}, "ababab!", "***!"},
		{"one holds the other", []string{"pass", "password1"}, "password1 pass", "*** ***"},
		{"one begins like the other", []string{"secret", "secret-2"}, "secret-2 secret-3", "*** ***-3"},
		{"near miss first", []string{"aaab"}, "aaaab", "a***"},
		{"final line end is not of it", []string{"secret\n"}, "the secret", "the ***"},
		{"in JSON", []string{"pass\"word\\1"}, `{"p":"pass\"word\\1"}`, `{"p":"***"}`},
		{"lines of a value", []string{"-----BEGIN KEY-----\nMIIabcdef\nab\n"}, "MIIabcdef ab", "*** ab"},
		{"bytes", []string{"\xff\xfe\xfd\xfc"}, "x\xff\xfe\xfd\xfcx", "x***x"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var values [][]byte
			for _, v := range test.values {
				values = append(values, []byte(v))
			}
			line := []byte(test.line)
			if got := NewRedactor(values...).Redact(line); string(got) != test.want {
				t.Errorf("%q became %q, want %q", test.line, got, test.want)
			}
			if string(line) != test.line {
				t.Error("the line itself was changed")
			}
		})
	}
	if got := (*Redactor)(nil).Redact([]byte("a line")); string(got) != "a line" {
		t.Errorf("without a redactor: %q", got)
	}
}

func TestARedactorKeepsItsOwnValues(t *testing.T) {
	value := []byte("secret")
	r := NewRedactor(value)
	copy(value, "public")
	if got := r.Redact([]byte("secret public")); string(got) != "*** public" {
		t.Errorf("%q", got)
	}
}

func TestLinesWithoutValuesCostNothing(t *testing.T) {
	r, line := NewRedactor([]byte("secret-1"), []byte("secret-2")), []byte(strings.Repeat("an ordinary line ", 10))
	if n := testing.AllocsPerRun(100, func() { r.Redact(line) }); n != 0 {
		t.Errorf("%v allocations a line", n)
	}
}

// Every byte of every occurrence is hidden, and no other one.
func FuzzRedact(f *testing.F) {
	f.Add([]byte("abab"), []byte("babb"), []byte("ababababb abab"))
	f.Add([]byte("aaaa"), []byte("aaab"), []byte("aaaaaab"))
	f.Fuzz(func(t *testing.T, a, b, line []byte) {
		// Each byte one of a few, so that there are matches; none that JSON escapes.
		few := func(text []byte) []byte {
			text = bytes.Clone(text)
			for i := range text {
				text[i] = 'a' + text[i]%3
			}
			return text
		}
		a, b, line = few(a), few(b), few(line)
		hidden := make([]bool, len(line))
		for _, v := range [][]byte{a, b} {
			for i := 0; len(v) >= redactMin && i+len(v) <= len(line); i++ {
				if bytes.Equal(line[i:i+len(v)], v) {
					for j := range v {
						hidden[i+j] = true
					}
				}
			}
		}
		var want []byte
		for i, c := range line {
			switch {
			case !hidden[i]:
				want = append(want, c)
			case i == 0 || !hidden[i-1]:
				want = append(want, mask...)
			}
		}
		if got := NewRedactor(a, b).Redact(line); !bytes.Equal(got, want) {
			t.Errorf("%q without %q and %q is %q, want %q", line, a, b, got, want)
		}
	})
}

func BenchmarkRedact(b *testing.B) {
	r := NewRedactor([]byte("a-secret-of-some-length"), []byte("and-another-one-of-the-kind"))
	line := []byte(strings.Repeat("an ordinary line of a log ", 6))
	for b.Loop() {
		r.Redact(line)
	}
}
