package wire

import (
	"bytes"
	"errors"
	"io"
	"os"
	"reflect"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// fill sets every field of a message to a random value, so that a field that
// code forgets is noticed.
func fill(t *rapid.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		fill(t, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			if b := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "bytes"); len(b) > 0 {
				v.SetBytes(b)
			}
			return
		}
		n := rapid.IntRange(0, 3).Draw(t, "count")
		if n == 0 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(t, v.Index(i))
		}
	case reflect.String:
		v.SetString(rapid.String().Draw(t, "string"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "int"))
	case reflect.Uint8:
		v.SetUint(uint64(rapid.Byte().Draw(t, "byte")))
	case reflect.Uint32:
		v.SetUint(uint64(rapid.Uint32().Draw(t, "uint32")))
	case reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, "uint"))
	default:
		t.Fatalf("no value for a field of kind %s", v.Kind())
	}
}

func TestEveryFieldOfEveryMessageTravels(t *testing.T) {
	for number, make := range messages {
		if make == nil {
			continue
		}
		rapid.Check(t, func(t *rapid.T) {
			m := make()
			if int(m.kind()) != number {
				t.Fatalf("%T has number %d, the table says %d", m, m.kind(), number)
			}
			fill(t, reflect.ValueOf(m))
			got, err := Decode(Encode(nil, m))
			if err != nil {
				t.Fatalf("%T: %v", m, err)
			}
			if !reflect.DeepEqual(m, got) {
				t.Fatalf("sent %+v, got %+v", m, got)
			}
		})
	}
}

func TestMalformedFramesAreRefused(t *testing.T) {
	good := Encode(nil, &Start{Call: 1, Path: "map[2]", Input: []byte("{}")})
	for name, frame := range map[string][]byte{
		"empty":          {},
		"unknown":        {255},
		"truncated":      good[:len(good)-1],
		"too long":       append(append([]byte{}, good...), 0),
		"count too high": {kindDropped, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"bad varint":     {kindCommit, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"32 bits":        Encode(nil, &Answer{})[:1],
	} {
		if _, err := Decode(frame); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
}

func TestConnCarriesMessagesAndDescriptors(t *testing.T) {
	node, f, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	host, err := NewConn(f)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := node.Send(&Start{Call: 7}, int(w.Fd())); err != nil {
		t.Fatal(err)
	}
	w.Close()
	m, fds, err := host.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := m.(*Start); !ok || s.Call != 7 || len(fds) != 1 {
		t.Fatalf("got %#v and %d descriptors", m, len(fds))
	}
	if flags, err := unix.FcntlInt(uintptr(fds[0]), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("descriptor flags %d, %v; want close-on-exec", flags, err)
	}
	passed := os.NewFile(uintptr(fds[0]), "passed")
	if _, err := passed.WriteString("through"); err != nil {
		t.Fatal(err)
	}
	passed.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != "through" {
		t.Fatalf("read %q, %v", b, err)
	}
	if err := node.Send(&Log{Text: make([]byte, FrameMax)}); err == nil {
		t.Error("a frame over the limit was sent")
	}
	if err := node.Send(&Log{Text: bytes.Repeat([]byte("x"), InlineMax)}); err != nil {
		t.Error("a frame with a full payload was refused:", err)
	}
	if m, _, err := host.Receive(); err != nil || len(m.(*Log).Text) != InlineMax {
		t.Errorf("full payload: %v", err)
	}
	node.Close()
	if _, _, err := host.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("after the peer closed: %v, want EOF", err)
	}
	host.Close()
}

func FuzzDecode(f *testing.F) {
	for _, make := range messages {
		if make != nil {
			f.Add(Encode(nil, make()))
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := Decode(frame)
		if err != nil {
			return
		}
		again, err := Decode(Encode(nil, m))
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("%#v changed to %#v, %v", m, again, err)
		}
	})
}

func BenchmarkStart(b *testing.B) {
	m := &Start{Call: 7, Function: 2, Path: "map[2]", Step: "map", Attempt: 1, Key: "r-1/map[2]", Input: []byte(`{"n": 3}`)}
	var buf []byte
	for b.Loop() {
		buf = Encode(buf[:0], m)
		if _, err := Decode(buf); err != nil {
			b.Fatal(err)
		}
	}
}

// Posted messages go with the next one that is sent, or with Flush, in order; a
// descriptor comes with the last.
func TestPostedMessagesTravelTogether(t *testing.T) {
	for name, open := range map[string]func(*os.File) (*Conn, error){"polled": NewConn, "blocking": Blocking} {
		t.Run(name, func(t *testing.T) {
			node, f, err := Pair()
			if err != nil {
				t.Fatal(err)
			}
			defer node.Close()
			host, err := open(f)
			if err != nil {
				t.Fatal(err)
			}
			null, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			defer null.Close()
			var want []uint64
			for i := range uint64(2000) { // more than a packet holds
				want = append(want, i)
				if err := node.Post(&Commit{Call: i}); err != nil {
					t.Fatal(err)
				}
			}
			if err := node.Send(&Start{Call: 2000}, int(null.Fd())); err != nil {
				t.Fatal(err)
			}
			if err := node.Post(&Start{Call: 2001, Input: make([]byte, InlineMax)}); err != nil {
				t.Fatal(err)
			}
			if err := node.Post(&Start{Call: 2002, Input: make([]byte, InlineMax)}); err != nil {
				t.Fatal(err)
			}
			if err := node.Post(&Log{Text: make([]byte, FrameMax)}); err == nil {
				t.Error("a frame over the limit was posted")
			}
			if err := node.Flush(); err != nil {
				t.Fatal(err)
			}
			want = append(want, 2000, 2001, 2002)
			for _, id := range want {
				m, fds, err := host.Receive()
				if err != nil {
					t.Fatal(err)
				}
				var got uint64
				switch m := m.(type) {
				case *Commit:
					got = m.Call
				case *Start:
					got = m.Call
				}
				if got != id || (len(fds) == 1) != (id == 2000) {
					t.Fatalf("got %T %d with %d descriptors, want %d", m, got, len(fds), id)
				}
				for _, fd := range fds {
					unix.Close(fd)
				}
			}
			if err := node.Flush(); err != nil {
				t.Errorf("flush of nothing: %v", err)
			}
			host.Close()
			if err := node.Send(&Reset{}); !errors.Is(err, unix.EPIPE) {
				t.Errorf("send to nobody: %v", err)
			}
		})
	}
}

// A peer that does not read is given up, and whoever receives hears why.
func TestStuckPeer(t *testing.T) {
	node, f, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	node.patience = 20 * time.Millisecond
	received := make(chan error)
	go func() {
		_, _, err := node.Receive()
		received <- err
	}()
	for err == nil {
		err = node.Send(&Log{Text: make([]byte, InlineMax)})
	}
	if !errors.Is(err, ErrStuck) {
		t.Errorf("send: %v", err)
	}
	if err := <-received; !errors.Is(err, ErrStuck) {
		t.Errorf("receive: %v", err)
	}
	if err := node.Send(&Reset{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("send after that: %v", err)
	}
}
