package config

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The page on configuration shows files that work, and has a row for every
// setting with the default that it has.
func TestDocumentation(t *testing.T) {
	data, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(page, -1)
	if len(blocks) == 0 {
		t.Error("no examples")
	}
	for _, b := range blocks {
		if _, err := Parse("docs/configuration.md", "/", []byte(b[1])); err != nil {
			t.Error(err)
		}
	}
	described := map[string]string{} // defaults by key
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_.]+)` \\|.*\\| ([^|]*) \\|$").FindAllStringSubmatch(page, -1) {
		described[row[1]] = row[2]
	}
	var visit func(prefix string, list []setting)
	visit = func(prefix string, list []setting) {
		for _, s := range list {
			key := prefix + s.name
			if s.below != nil {
				visit(key+".", s.below)
				continue
			}
			standard, ok := described[key]
			delete(described, key)
			switch {
			case !ok:
				t.Errorf("%s is not described", key)
			case key == "data" || key == "socket": // the machine decides
			default:
				want := "`" + strings.ReplaceAll(s.write(Default()), `"`, "") + "`"
				if want == "`[]`" || want == "``" {
					want = "none"
				}
				if standard != want {
					t.Errorf("the default of %s is %s, not %s", key, want, standard)
				}
			}
		}
	}
	visit("", settings)
	for key := range described {
		t.Errorf("%s is described and does not exist", key)
	}
}
