// Package p keeps values that JSON does not give back.
package p

import (
	"encoding/json"
	"log/slog"
	"math/big"
	"net/netip"
	"net/url"
	"time"

	weft "github.com/weft-run/weft/service"
)

// A is a service.
type A struct {
	Twice    weft.Value[twice]
	Tags     weft.Value[struct{ A, B int }] // fine
	Deep     weft.Value[deep]
	Both     weft.Value[both]
	Pointer  weft.Value[embedsPointer]
	Hidden   weft.Value[embedsHidden]
	Time     weft.Value[embedsTime]
	Only     weft.Value[onlyTime] // fine
	Alone    weft.Value[[]writes]
	Reads    weft.Value[reads]
	Receiver weft.Value[receiver]
	Behind   weft.Value[*receiver] // fine
	Inside   weft.Value[map[string]inside]
	Big      weft.Value[big.Int]
	BigToo   weft.Value[[]*big.Int] // fine
	URL      weft.Value[url.URL]
	Address  weft.Value[netip.Addr]      // fine
	Level    weft.Value[slog.Level]      // fine
	Raw      weft.Value[json.RawMessage] // fine
	Odd      weft.Value[odd]
	Nil      weft.Value[**int]
	Error    weft.Value[error]
	Tree     weft.Value[tree]    // fine
	Enum     weft.Map[enum, int] // fine
	Lost     weft.Map[lost, int]
	ByText   weft.Value[map[lost]int]
	ByName   weft.Value[map[name]int]
	ByPlain  weft.Value[map[plain]int] // fine
	ByPair   weft.Value[map[pair]int]
	ByEnum   weft.Value[map[enum]int]      // fine
	ByTime   weft.Value[map[time.Time]int] // fine
	ByAny    weft.Value[map[any]int]
	ByJSON   weft.Value[map[coded]int]
	ByPoint  weft.Value[map[*enum]int]
	Tagged   weft.Value[tagged] // fine
}

type twice struct {
	A int `json:"x"`
	B int `json:"x"`
}

type left struct{ Name string }
type right struct{ Name string }

type both struct {
	left
	right
}

type deep struct {
	left
	Name string
}

type embedsPointer struct {
	*Exported
	N int
}

// Exported is embedded.
type Exported struct{ M int }

type count int

type embedsHidden struct {
	count
	N int
}

type embedsTime struct {
	time.Time
	N int
}

type onlyTime struct{ time.Time }

type writes struct{ n int }

func (writes) MarshalJSON() ([]byte, error) { return nil, nil }

type reads struct{ N int }

func (*reads) UnmarshalText([]byte) error { return nil }

type receiver struct{ n int }

func (*receiver) MarshalJSON() ([]byte, error) { return nil, nil }
func (*receiver) UnmarshalJSON([]byte) error   { return nil }

type inside struct{ R receiver }

type odd struct {
	A int `json:"a\"b"`
}

type tree struct {
	N        int
	Children []tree
	Parent   *tree
}

type tagged struct {
	left `json:"left"`
	Name string
	Skip chan int `json:"-"`
	Dash int      `json:"-,"`
}

type enum int

func (enum) MarshalText() ([]byte, error) { return nil, nil }
func (*enum) UnmarshalText([]byte) error  { return nil }

type lost int

func (*lost) MarshalText() ([]byte, error) { return nil, nil }
func (*lost) UnmarshalText([]byte) error   { return nil }

type name string

func (name) MarshalText() ([]byte, error) { return nil, nil }
func (*name) UnmarshalText([]byte) error  { return nil }

type plain string

func (plain) MarshalText() ([]byte, error) { return nil, nil }

type pair struct{ A, B int }

type coded struct{ A int }

func (coded) MarshalJSON() ([]byte, error) { return nil, nil }
func (*coded) UnmarshalJSON([]byte) error  { return nil }

// Get has such arguments and results.
func (a *A) Get(ctx *weft.Context, t twice, list []embedsPointer) (map[lost]string, error) {
	return nil, nil
}
