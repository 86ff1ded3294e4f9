package trigger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

var (
	// attributeRule is how attributes are called.
	attributeRule = regexp.MustCompile(`^[a-z0-9]+$`)
	// integerRule is what JSON numbers may be as attributes.
	integerRule = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
)

// core are the attributes that the specification names, and what each puts into an
// event. An attribute that is there is text, and not empty.
var core = map[string]func(e *Event, value string) error{
	"id":      func(e *Event, s string) error { e.ID = s; return nil },
	"type":    func(e *Event, s string) error { e.Type = s; return nil },
	"subject": func(e *Event, s string) error { e.Subject = s; return nil },
	"source":  func(e *Event, s string) error { e.Source = s; _, err := reference(s); return err },
	"specversion": func(e *Event, s string) error {
		e.SpecVersion = s
		if s != SpecVersion {
			return fmt.Errorf("%.80q is not %s", s, SpecVersion)
		}
		return nil
	},
	"datacontenttype": func(e *Event, s string) error {
		e.DataContentType = s
		media, _, err := mime.ParseMediaType(s)
		if err == nil && !strings.Contains(media, "/") {
			err = fmt.Errorf("%.80q is not a media type", s)
		}
		return err
	},
	"dataschema": func(e *Event, s string) error {
		e.DataSchema = s
		u, err := reference(s)
		if err == nil && !u.IsAbs() {
			err = fmt.Errorf("%.80q is not an absolute URI", s)
		}
		return err
	},
	"time": func(e *Event, s string) (err error) {
		if e.Time, err = time.Parse(time.RFC3339Nano, s); err != nil {
			return fmt.Errorf("%.80q is not a time such as 2026-04-05T17:31:00Z", s)
		}
		return nil
	},
}

// required are the attributes that no event is without.
var required = []string{"id", "source", "specversion", "type"}

// faultsMax bounds what one error lists.
const faultsMax = 10

// assemble makes an event of its attributes: strings, bools and numbers. It
// reports all that is wrong with them, after the faults that are known.
func assemble(attributes map[string]any, faults []string) (e Event, err error) {
	for _, name := range required {
		if _, ok := attributes[name]; !ok {
			faults = append(faults, name+" is missing")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		text, isText := attributes[name].(string)
		set := core[name]
		switch {
		case !attributeRule.MatchString(name):
			faults = append(faults, fmt.Sprintf("an attribute is called %.80q; names are lower case letters and digits", name))
		case name == "data":
			faults = append(faults, "an attribute is called data")
		case set != nil && !isText:
			faults = append(faults, name+" is not a string")
		case set != nil && text == "":
			faults = append(faults, name+" is empty")
		case isText && !allowed(text):
			faults = append(faults, fmt.Sprintf("%.80s has characters that no attribute may have", name))
		case set != nil:
			if err := set(&e, text); err != nil {
				faults = append(faults, fmt.Sprintf("%s: %v", name, err))
			}
		default:
			if e.Extensions == nil {
				e.Extensions = map[string]any{}
			}
			e.Extensions[name] = attributes[name]
		}
	}
	if more := len(faults) - faultsMax; more > 0 {
		faults = append(faults[:faultsMax:faultsMax], fmt.Sprintf("and %d more", more))
	}
	if len(faults) > 0 {
		return Event{}, fmt.Errorf("%w: %s", ErrMalformed, strings.Join(faults, "; "))
	}
	return e, nil
}

// allowed reports whether a text is UTF-8 without control characters and
// noncharacters.
func allowed(s string) bool {
	return printable(s) && !strings.ContainsFunc(s, func(r rune) bool { return r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe })
}

// reference reads a URI-reference of RFC 3986.
func reference(s string) (*url.URL, error) {
	if i := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("<>\"{}|\\^`", r) }); i >= 0 {
		r, _ := utf8.DecodeRuneInString(s[i:])
		return nil, fmt.Errorf("%.80q is not a URI: %q has to be percent-encoded", s, r)
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("%.80q is not a URI", s)
	}
	return u, nil
}

var errQuote = errors.New(`a quote (") is not closed`)

// headerValue decodes the value of an attribute in a header: quoted strings are
// unquoted, as older senders quote, and then percent-encoding is undone, once.
func headerValue(s string) (string, error) {
	s, err := unquote(s)
	if err != nil {
		return "", err
	}
	if strings.IndexByte(s, '%') >= 0 {
		var b strings.Builder
		for i := 0; i < len(s); i++ {
			if s[i] != '%' {
				b.WriteByte(s[i])
				continue
			}
			n, err := strconv.ParseUint(s[i+1:min(i+3, len(s))], 16, 8)
			if err != nil || len(s) < i+3 {
				return "", errors.New("% is not followed by two hexadecimal digits; % itself is %25")
			}
			b.WriteByte(byte(n))
			i += 2
		}
		s = b.String()
	}
	if !utf8.ValidString(s) {
		return "", errors.New("it is not UTF-8")
	}
	return s, nil
}

// unquote takes away the quotes of quoted strings and the backslashes in them.
func unquote(s string) (string, error) {
	if strings.IndexByte(s, '"') < 0 {
		return s, nil
	}
	var b strings.Builder
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case quoted && s[i] == '\\':
			if i++; i == len(s) {
				return "", errQuote
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(s[i])
		}
	}
	if quoted {
		return "", errQuote
	}
	return b.String(), nil
}

// jsonValue decodes the value of an attribute in JSON.
func jsonValue(src json.RawMessage) (any, error) {
	src = bytes.TrimSpace(src)
	if len(src) > 0 && (src[0] == '-' || src[0] >= '0' && src[0] <= '9') {
		n, err := strconv.ParseInt(string(src), 10, 32)
		if err != nil || !integerRule.Match(src) {
			return nil, fmt.Errorf("the number %.40s is not a whole one of 32 bits", src)
		}
		return float64(n), nil
	}
	var v any
	if err := json.Unmarshal(src, &v); err != nil {
		return nil, err
	}
	switch v.(type) {
	case string, bool:
		return v, nil
	}
	return nil, errors.New("an attribute is a string, a boolean or a whole number")
}
