package otlp

import (
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"
)

// The JSON form of opentelemetry.proto.collector.trace.v1. It follows the mapping
// of proto3 with one exception that OTLP makes: IDs are hexadecimal, not base 64.
// 64-bit integers are strings, enumerations are numbers.

type exportRequest struct {
	ResourceSpans []resourceSpans `json:"resourceSpans"`
}

type resourceSpans struct {
	Resource   resource     `json:"resource"`
	ScopeSpans []scopeSpans `json:"scopeSpans"`
}

type resource struct {
	Attributes []keyValue `json:"attributes"`
}

type scopeSpans struct {
	Scope scope  `json:"scope"`
	Spans []span `json:"spans"`
}

type scope struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
}

type span struct {
	TraceID    hexID      `json:"traceId"`
	SpanID     hexID      `json:"spanId"`
	Parent     hexID      `json:"parentSpanId,omitempty"`
	Flags      uint32     `json:"flags,omitempty"` // of the trace context
	Name       string     `json:"name"`
	Kind       spanKind   `json:"kind"`
	Start      nanos      `json:"startTimeUnixNano"`
	End        nanos      `json:"endTimeUnixNano"`
	Attributes []keyValue `json:"attributes,omitempty"`
	Status     *status    `json:"status,omitempty"` // nil: unset
}

// hexID is the ID of a trace or a span.
type hexID []byte

func (id hexID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id), nil }

// nanos is a moment, as fixed64.
type nanos time.Time

func (n nanos) MarshalText() ([]byte, error) {
	return strconv.AppendInt(nil, max(time.Time(n).UnixNano(), 0), 10), nil
}

type spanKind int

const (
	spanInternal spanKind = 1
	spanServer   spanKind = 2 // a run that a caller with a trace has started
)

type status struct {
	Message string `json:"message,omitempty"`
	Code    int    `json:"code"`
}

const statusError = 2

type keyValue struct {
	Key   string   `json:"key"`
	Value anyValue `json:"value"`
}

// anyValue has one field that is set.
type anyValue struct {
	String *string  `json:"stringValue,omitempty"`
	Bool   *bool    `json:"boolValue,omitempty"`
	Int    *int64   `json:"intValue,omitempty,string"`
	Double *float64 `json:"doubleValue,omitempty"`
}

// textMax bounds names, attributes and messages, in bytes.
const textMax = 1024

// shorten cuts what is too long between two letters.
func shorten(s string) string {
	if len(s) <= textMax {
		return s
	}
	cut := textMax - len("…")
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

func text(key, v string) keyValue {
	v = shorten(v)
	return keyValue{key, anyValue{String: &v}}
}

func integer(key string, v int64) keyValue { return keyValue{key, anyValue{Int: &v}} }

func number(key string, v float64) keyValue { return keyValue{key, anyValue{Double: &v}} }

func boolean(key string, v bool) keyValue { return keyValue{key, anyValue{Bool: &v}} }

// exportResponse is what a collector says that has taken a request, perhaps not
// all of it.
type exportResponse struct {
	Partial struct {
		Rejected json.Number `json:"rejectedSpans"` // a string, by the mapping; some write a number
		Message  string      `json:"errorMessage"`
	} `json:"partialSuccess"`
}

// rejected is how many spans were not taken, 0 if that cannot be told.
func (r *exportResponse) rejected() int64 {
	n, err := r.Partial.Rejected.Int64()
	if err != nil {
		return 0
	}
	return n
}
