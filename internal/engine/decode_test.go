package engine

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/flow"
)

// FuzzJournalLine reads journals of one line. What is wrong is an error, and
// nothing is a panic.
func FuzzJournalLine(f *testing.F) {
	entry, err := flow.AppendEntry(nil, flow.Entry{At: time.Second, Event: flow.Started{}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append([]byte{recordVersion, lineEntry}, entry...))
	f.Add(append([]byte{recordVersion, lineKept}, `{"call":1,"puts":[{"name":"a/x","by":"a","size":3,"inline":"YWJj"}],"takes":["b/y"]}`...))
	f.Add(append([]byte{recordVersion, linePaused}, `{"at":"2026-01-02T03:04:05Z"}`...))
	f.Add([]byte{recordVersion + 1, lineEntry})
	f.Add([]byte{recordVersion})
	w := &flow.Workflow{Name: "main", Steps: []flow.Step{{Name: "a", Call: flow.Target{Kind: flow.Function, Name: "f"}}}}
	p := &Program{App: &app.App{Name: "x", Workflows: map[string]*flow.Workflow{"main": w}}}
	f.Fuzz(func(t *testing.T, value []byte) {
		if len(value) > 1 && value[1] >= 'A' && value[1] <= 'Z' {
			return // a blob: there is no disk
		}
		kind, data, err := readLine(nil, "r", value)
		if err != nil {
			return
		}
		h, err := newHistory(p, &record{Run: Run{ID: "r", Workflow: "main"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.line(kind, data); err == nil && kind != lineEntry && kind != lineKept && kind != linePaused && kind != lineResumed {
			t.Errorf("a line of kind %q is read", kind)
		}
	})
}

// FuzzRecord reads records: one that can be read can be written, and read again
// as the same.
func FuzzRecord(f *testing.F) {
	value, _, err := record{Run: Run{ID: "0123456789abcdefghjkmn", App: "shop", Workflow: "order", Status: Failed, Input: 1.0, Failure: &flow.Failure{Kind: "exit"}}, Seed: 3}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(value)
	f.Add([]byte{recordVersion, '{', '}'})
	f.Add([]byte{recordVersion + 1})
	f.Fuzz(func(t *testing.T, value []byte) {
		var r record
		if decode(value, &r) != nil {
			return
		}
		again, blobs, err := r.encode()
		if err != nil {
			t.Fatalf("encode what was decoded: %v", err)
		}
		var back record
		if err := decode(again, &back); err != nil {
			t.Fatalf("decode what was encoded: %v", err)
		}
		third, _, err := back.encode()
		if err != nil || len(blobs) == 0 && !bytes.Equal(again, third) {
			t.Errorf("a record changes on its way: %s, then %s, %v", again, third, err)
		}
	})
}

// Names of runs are in the order of their times, and their keys in the other.
func TestNames(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	older, newer := newID(at, ^uint64(0)), newID(at.Add(time.Millisecond), 0)
	if older >= newer || !validID(older) || !validID(newer) {
		t.Errorf("%s is not before %s", older, newer)
	}
	if bytes.Compare(runKey(newer), runKey(older)) >= 0 {
		t.Errorf("%s comes after %s", runKey(newer), runKey(older))
	}
	when, id, err := expireTime(expireKey(at, newer))
	if err != nil || !when.Equal(at) || id != newer {
		t.Errorf("the key says %v %s, %v", when, id, err)
	}
	for _, bad := range []string{expirePrefix, expirePrefix + "12345678/short", "expire/"} {
		if _, _, err := expireTime([]byte(bad)); err == nil {
			t.Errorf("key %q is read", bad)
		}
	}
}

// Large values leave the record.
func TestRecordBlobs(t *testing.T) {
	large := string(bytes.Repeat([]byte("x"), inlineMax))
	value, blobs, err := record{Run: Run{ID: "r", Input: "small", Output: large}}.encode()
	if err != nil || len(blobs) != 1 || blobs[0].name != "output" || len(value) > inlineMax {
		t.Fatalf("%d bytes and blobs %v, %v", len(value), blobs, err)
	}
	var text string
	if err := json.Unmarshal(blobs[0].data, &text); err != nil || text != large {
		t.Errorf("the blob does not hold the output: %v", err)
	}
}
