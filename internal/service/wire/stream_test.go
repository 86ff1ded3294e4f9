package wire

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
)

func TestStreamHasFramesBehindTheirLengths(t *testing.T) {
	sent := []Message{
		&Start{Call: 1, To: Target{"bank", "7", "add"}, Args: [][]byte{[]byte("1")}, Values: []Known{}},
		&Answer{Call: 1, Seq: 2, List: []Value{}},
	}
	stream := Wrap(Pack(nil, sent[0]), Encode(nil, sent[1]))
	r := bytes.NewReader(stream)
	for _, want := range sent {
		frame, err := Next(r)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Decode(frame); err != nil || !reflect.DeepEqual(Encode(nil, got), Encode(nil, want)) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	if _, err := Next(r); err != io.EOF {
		t.Errorf("at the end: %v, want io.EOF", err)
	}
	for n := 1; n < len(stream); n++ {
		r := bytes.NewReader(stream[:n])
		var err error
		for err == nil {
			_, err = Next(r)
		}
		whole := n == len(Pack(nil, sent[0]))
		if whole != (err == io.EOF) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
	if _, err := Next(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff})); !errors.Is(err, ErrMalformed) {
		t.Errorf("a frame of 4 GiB: %v, want ErrMalformed", err)
	}
}
