package service_test

import (
	"strings"
	"testing"

	"github.com/weft-run/weft/service"
)

// Text that JSON would replace is refused; what only looks like that is not.
func TestTextThatIsNoUTF8(t *testing.T) {
	for text, ok := range map[string]bool{
		"\xff":                   false,
		"a\xc3b":                 false,
		`\\` + "\xff":            false,
		"\ufffd":                 true,
		`\ufffd`:                 true,
		`\\ufffd \\\ufffd`:       true,
		`\ufffd` + "\xff":        false,
		strings.Repeat("é\n", 9): true,
	} {
		for _, v := range []any{text, []string{text}, map[string]int{text: 1}} {
			if _, err := service.Encode(v); (err == nil) != ok {
				t.Errorf("%q: %v", v, err)
			}
		}
	}
	m := service.NewMemory(things)
	if _, err := service.Call(m, act("do", "a", []op{{Kind: "put", Key: "\xff"}})); err == nil || !strings.Contains(err.Error(), "call thing/a.do: argument 1: it has text that is no UTF-8") {
		t.Errorf("an argument: %v", err)
	}
}
