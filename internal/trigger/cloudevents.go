package trigger

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// What Decode fails with, besides the errors of reading.
var (
	ErrMalformed   = errors.New("malformed CloudEvent")
	ErrUnsupported = errors.New("unsupported form of CloudEvents") // an event format or a charset
	ErrTooLarge    = errors.New("CloudEvents are too large")
)

// BatchMax bounds the events of a batch.
const BatchMax = 1000

// SpecVersion is the version of CloudEvents that is understood.
const SpecVersion = "1.0"

// Media types of CloudEvents. Everything that begins with the first one says that
// the body holds the attributes; otherwise headers do.
const (
	mediaPrefix     = "application/cloudevents"
	mediaStructured = mediaPrefix + "+json"
	mediaBatch      = mediaPrefix + "-batch+json"
	headerPrefix    = "ce-"
)

// Event is a CloudEvent. Its attributes are valid.
type Event struct {
	ID, Source, SpecVersion, Type string    // never empty
	Subject                       string    // empty: none
	DataContentType               string    // as it was sent; empty: none
	DataSchema                    string    // empty: none
	Time                          time.Time // zero: none
	// Extensions are the other attributes: strings, and in JSON also bools and whole
	// numbers, as float64. Nil: none.
	Extensions map[string]any
	// Data is the JSON value that the event carries, if its content type says that it
	// is one; nil: null, or none.
	Data any
	// Bytes is what it carries otherwise; nil: nothing.
	Bytes []byte
}

// Decode reads the events of an HTTP message: one whose attributes are headers
// (binary mode), one in JSON (structured mode), or a list of them (batch, which
// may be empty). The body may have up to limit bytes, a batch up to BatchMax
// events. If one event of a batch is malformed, none is given.
//
// It fails with ErrMalformed, ErrUnsupported, ErrTooLarge or the error of reading
// the body.
func Decode(header http.Header, body io.Reader, limit int64) ([]Event, error) {
	contentType := header.Get("Content-Type")
	if !strings.HasPrefix(strings.ToLower(contentType), mediaPrefix) {
		e, err := decodeBinary(header, body, limit)
		if err != nil {
			return nil, err
		}
		return []Event{e}, nil
	}
	media, params, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: Content-Type %.80q: %w", ErrMalformed, contentType, err)
	case media != mediaStructured && media != mediaBatch:
		return nil, fmt.Errorf("%w: Content-Type %.80s; send %s, %s, or the attributes as %s headers", ErrUnsupported, media, mediaStructured, mediaBatch, headerPrefix)
	case !unicodeText(params):
		return nil, fmt.Errorf("%w: charset %.80q; JSON is UTF-8", ErrUnsupported, params["charset"])
	}
	src, err := read(body, limit)
	if err != nil {
		return nil, err
	}
	if media == mediaBatch {
		return decodeBatch(src)
	}
	e, err := decodeStructured(src)
	if err != nil {
		return nil, err
	}
	return []Event{e}, nil
}

// read reads a whole body.
func read(body io.Reader, limit int64) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	limit = min(max(limit, 0), math.MaxInt64-1)
	src, err := io.ReadAll(io.LimitReader(body, limit+1))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, tooLarge.Limit)
	}
	if err != nil {
		return nil, fmt.Errorf("read a CloudEvent: %w", err)
	}
	if int64(len(src)) > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	}
	return src, nil
}

// decodeBinary reads an event whose attributes are headers.
func decodeBinary(header http.Header, body io.Reader, limit int64) (e Event, err error) {
	attributes := map[string]any{}
	var faults []string
	for _, key := range slices.Sorted(maps.Keys(header)) {
		name, ok := strings.CutPrefix(strings.ToLower(key), headerPrefix)
		if !ok {
			continue
		}
		values := header[key]
		_, twice := attributes[name]
		switch {
		case name == "datacontenttype":
			faults = append(faults, "the content type of data is the header Content-Type, not ce-datacontenttype")
		case name == "data":
			faults = append(faults, "data is the body, not a header")
		case twice || len(values) != 1:
			faults = append(faults, fmt.Sprintf("the header %s%.80s is not there once", headerPrefix, name))
		default:
			text, err := headerValue(values[0])
			if err != nil {
				faults = append(faults, fmt.Sprintf("the header %s%.80s: %v", headerPrefix, name, err))
			}
			attributes[name] = text
		}
	}
	if len(attributes) == 0 && len(faults) == 0 {
		return e, fmt.Errorf("%w: there are neither headers such as ce-id and ce-type nor the Content-Type %s", ErrMalformed, mediaStructured)
	}
	if contentType := header.Get("Content-Type"); contentType != "" {
		attributes["datacontenttype"] = contentType
	}
	if e, err = assemble(attributes, faults); err != nil {
		return e, err
	}
	src, err := read(body, limit)
	if err != nil || len(src) == 0 {
		return e, err
	}
	return e, e.carry(src)
}

// decodeBatch reads a list of events.
func decodeBatch(src []byte) ([]Event, error) {
	var list []json.RawMessage
	if err := unmarshal(src, &list); err != nil {
		return nil, fmt.Errorf("%w: a batch is a JSON list of events: %w", ErrMalformed, err)
	}
	if list == nil {
		return nil, fmt.Errorf("%w: a batch is a JSON list of events", ErrMalformed)
	}
	if len(list) > BatchMax {
		return nil, fmt.Errorf("%w: a batch of %d events; at most %d", ErrTooLarge, len(list), BatchMax)
	}
	events := make([]Event, len(list))
	for i, src := range list {
		e, err := decodeStructured(src)
		if err != nil {
			return nil, fmt.Errorf("event %d of the batch: %w", i+1, err)
		}
		events[i] = e
	}
	return events, nil
}

// decodeStructured reads an event in JSON.
func decodeStructured(src []byte) (e Event, err error) {
	var members map[string]json.RawMessage
	if err := unmarshal(src, &members); err != nil {
		return e, fmt.Errorf("%w: an event is a JSON object: %w", ErrMalformed, err)
	}
	if members == nil {
		return e, fmt.Errorf("%w: an event is a JSON object", ErrMalformed)
	}
	attributes := map[string]any{}
	var faults []string
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if name == "data" || name == "data_base64" || string(members[name]) == "null" {
			continue
		}
		value, err := jsonValue(members[name])
		if err != nil {
			faults = append(faults, fmt.Sprintf("%.80s: %v", name, err))
			continue
		}
		attributes[name] = value
	}
	data, isData := members["data"]
	encoded, isBinary := members["data_base64"]
	isBinary = isBinary && string(encoded) != "null"
	isData = isData && (!isBinary || string(data) != "null")
	if isData && isBinary {
		faults = append(faults, "there are both data and data_base64")
	}
	if _, ok := attributes["datacontenttype"]; isData && !ok {
		attributes["datacontenttype"] = "application/json" // as the specification implies
	}
	if e, err = assemble(attributes, faults); err != nil {
		return e, err
	}
	switch {
	case isBinary:
		var text string
		if err := json.Unmarshal(encoded, &text); err != nil {
			return e, fmt.Errorf("%w: data_base64 is not a string", ErrMalformed)
		}
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return e, fmt.Errorf("%w: data_base64: %w", ErrMalformed, err)
		}
		return e, e.carry(raw)
	case isData && e.json():
		return e, e.carry(data)
	case isData:
		var text *string
		if err := json.Unmarshal(data, &text); err != nil {
			return e, fmt.Errorf("%w: data is not a string, although its content type is %.80s", ErrMalformed, e.DataContentType)
		}
		if text != nil {
			e.Bytes = []byte(*text)
		}
	}
	return e, nil
}

// unmarshal decodes JSON, which is UTF-8.
func unmarshal(src []byte, v any) error {
	if !utf8.Valid(src) {
		return errors.New("it is not UTF-8")
	}
	return json.Unmarshal(src, v)
}

// carry sets the data to what some bytes are by the event's content type.
func (e *Event) carry(src []byte) error {
	if !e.json() {
		e.Bytes = src
		return nil
	}
	if _, params, err := mime.ParseMediaType(e.DataContentType); err != nil || !unicodeText(params) {
		return fmt.Errorf("%w: the charset of %.80s; JSON is UTF-8", ErrUnsupported, e.DataContentType)
	}
	if err := unmarshal(src, &e.Data); err != nil {
		return fmt.Errorf("%w: data is not JSON, although its content type is %.80s: %w", ErrMalformed, e.DataContentType, err)
	}
	return nil
}

// unicodeText reports whether a media type's charset is UTF-8 or a part of it.
func unicodeText(params map[string]string) bool {
	switch strings.ToLower(params["charset"]) {
	case "", "utf-8", "utf8", "us-ascii":
		return true
	}
	return false
}

// media is the content type of the data in lower case, without parameters.
func (e *Event) media() string {
	media, _, _ := strings.Cut(e.DataContentType, ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// json reports whether the content type is JSON.
func (e *Event) json() bool {
	m := e.media()
	return strings.HasSuffix(m, "/json") || strings.HasSuffix(m, "+json")
}

// text reports whether the content type is text, and the bytes are UTF-8.
func (e *Event) text() bool {
	m := e.media()
	return (strings.HasPrefix(m, "text/") || strings.HasSuffix(m, "/xml") || strings.HasSuffix(m, "+xml")) && utf8.Valid(e.Bytes)
}

// Scope is what expressions see of the event: its attributes by their names, those
// of extensions included, time as text, and data. Data is a JSON value, or text,
// if it is text/* or XML in UTF-8; anything else is data_base64. What the event
// does not have is not in the map.
func (e Event) Scope() map[string]any {
	scope := map[string]any{}
	maps.Copy(scope, e.Extensions)
	for name, value := range map[string]string{"id": e.ID, "source": e.Source, "specversion": e.SpecVersion, "type": e.Type,
		"subject": e.Subject, "datacontenttype": e.DataContentType, "dataschema": e.DataSchema} {
		if value != "" {
			scope[name] = value
		}
	}
	if !e.Time.IsZero() {
		scope["time"] = e.Time.Format(time.RFC3339Nano)
	}
	switch {
	case e.Bytes == nil && e.Data != nil:
		scope["data"] = e.Data
	case e.Bytes == nil:
	case e.text():
		scope["data"] = string(e.Bytes)
	default:
		scope["data_base64"] = base64.StdEncoding.EncodeToString(e.Bytes)
	}
	return scope
}

// keyMax bounds an event's key, in bytes. It leaves room in an idempotency key for
// what the event is for.
const keyMax = 128

// Key is the same for two events if, and only if, source and id are: they are then
// one event that was sent twice. It has at most 128 bytes. Who starts several runs
// for an event adds something of each.
func (e Event) Key() string {
	// The length says where the source ends, whatever is in it.
	plain := strconv.Itoa(len(e.Source)) + "/" + e.Source + "/" + e.ID
	const prefix = "event/"
	if len(prefix)+len(plain) <= keyMax {
		return prefix + plain
	}
	sum := sha256.Sum256([]byte(plain))
	return prefix + "sha256/" + hex.EncodeToString(sum[:])
}

// MatchType reports whether an event's type is the pattern or, if that ends in *,
// begins with what is before it.
func MatchType(pattern, typ string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(typ, prefix)
	}
	return pattern == typ
}
