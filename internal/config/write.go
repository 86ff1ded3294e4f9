package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// commentWidth is how long a line of a comment becomes.
const commentWidth = 100

// YAML writes all settings, each with what it means, in a form that Load reads
// again. Settings with a default that depends on the machine are written as
// they are here.
func (c *Config) YAML() []byte {
	var b bytes.Buffer
	comment(&b, "", "The settings of a weft node, as docs/configuration.md describes them. Whatever is left out has its default.")
	writeSettings(&b, "", settings, c)
	return b.Bytes()
}

func writeSettings(b *bytes.Buffer, indent string, list []setting, c *Config) {
	for _, s := range list {
		if indent == "" {
			b.WriteByte('\n')
		}
		comment(b, indent, s.comment)
		if s.below == nil {
			fmt.Fprintf(b, "%s%s: %s\n", indent, s.name, s.write(c))
			continue
		}
		fmt.Fprintf(b, "%s%s:\n", indent, s.name)
		writeSettings(b, indent+"  ", s.below, c)
	}
}

// comment writes text as lines of a comment.
func comment(b *bytes.Buffer, indent, text string) {
	if text == "" {
		return
	}
	line := indent + "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > commentWidth {
			b.WriteString(line + "\n")
			line = indent + "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}

// unquoted matches the strings that YAML takes for nothing else.
var unquoted = regexp.MustCompile(`^/[A-Za-z0-9_./-]*$`)

// quoted writes a string as YAML. Double-quoted strings of YAML hold those of
// JSON.
func quoted(s string) string {
	if unquoted.MatchString(s) {
		return s
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	// A string has no error to give.
	_ = enc.Encode(s)
	return strings.TrimSuffix(b.String(), "\n")
}

func plainInteger(n int) string { return strconv.Itoa(n) }
