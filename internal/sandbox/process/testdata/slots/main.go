// Command slots does with the Go SDK what slots.c does with that of C, and says the same.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/weft-run/weft"
)

var calls int

func main() {
	weft.Handle(func(in struct {
		Do string `json:"do"`
	}) ([]string, error) {
		switch in.Do {
		case "count":
			calls++
			return []string{fmt.Sprint(calls)}, nil
		case "fail":
			return nil, errors.New("failed, as wanted")
		case "exit":
			os.Exit(3)
		case "abort":
			panic("aborted, as wanted")
		case "sleep":
			time.Sleep(time.Hour)
		case "log":
			fmt.Fprint(os.Stderr, "first\nsecond")
			return []string{}, nil
		case "operations":
			return operations()
		case "publish":
			return publish()
		case "make":
			return produce()
		case "use":
			return consume()
		case "threads":
			return threads()
		case "context":
			return []string{os.Getenv("WEFT_RUN"), os.Getenv("WEFT_STEP"), os.Getenv("WEFT_ATTEMPT"), os.Getenv("WEFT_KEY"), weft.Qualify("x")}, nil
		}
		return nil, errors.New("do what?")
	})
}

// reason is what went wrong, without with what.
func reason(err error) string {
	if err == nil {
		return "no error"
	}
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	return err.Error()
}

func operations() (said []string, err error) {
	say := func(err error) { said = append(said, reason(err)) }
	for _, size := range []int{0, 1, 16 << 10, 64 << 10, 64<<10 + 1, 1<<20 + 5} {
		name, want := fmt.Sprint("v", size), bytes.Repeat([]byte{7}, size)
		if err := weft.Put(name, want); err != nil {
			return nil, err
		}
		if n, err := weft.Len(name); n != int64(size) || err != nil {
			return nil, fmt.Errorf("%d bytes are %d: %v", size, n, err)
		}
		for _, read := range []func(string) (*weft.View, error){weft.Borrow, weft.Take} {
			v, err := read(name)
			if err != nil {
				return nil, err
			}
			if !bytes.Equal(v.Bytes(), want) {
				return nil, fmt.Errorf("%d bytes came back different", size)
			}
			if err := v.Release(); err != nil {
				return nil, err
			}
		}
	}
	say(weft.Put("x", nil))
	say(weft.Put("x", nil))
	say(weft.PutSlice("typed", []uint32{1, 2, 3}))
	_, err = weft.TakeSlice[uint64]("typed")
	say(err)
	_, err = weft.TakeSlice[uint32]("typed")
	say(err)
	_, err = weft.Take("typed")
	say(err)
	_, err = weft.Len("typed")
	say(err)
	say(weft.Put("a b", nil))
	say(weft.Put(strings.Repeat("n", 2000), nil))
	_, err = weft.Borrow("twice")
	say(err)
	_, err = weft.Alloc(300 << 20)
	say(err)
	say(weft.Put("large", make([]byte, 300<<20)))
	say(weft.Wait("never", 0))
	say(weft.Wait("never", time.Millisecond))
	say(weft.Wait("dead/lock", -1))
	_, err = weft.Dial("localhost", 80)
	say(err)
	_, err = weft.Listen(8080)
	say(err)
	for range 100 { // given up again, they do not count
		b, err := weft.Alloc(32 << 20)
		if err != nil {
			return nil, err
		}
		if b.Bytes()[5] != 0 {
			return nil, errors.New("a used buffer is not empty")
		}
		b.Bytes()[5] = 1
		if err := b.Release(); err != nil {
			return nil, err
		}
	}
	return said, nil
}

func publish() ([]string, error) {
	b, err := weft.Alloc(1 << 20)
	if err != nil {
		return nil, err
	}
	fill(b.Bytes(), 'a')
	if err := b.Publish("data"); err != nil {
		return nil, err
	}
	b.Bytes()[0] = 'b' // of this process alone
	v, err := weft.Borrow("data")
	if err != nil {
		return nil, err
	}
	said := []string{string(v.Bytes()[:2])}
	if err := v.Publish("same"); err != nil {
		return nil, err
	}
	v.Bytes()[1] = 'c'
	again, err := weft.Borrow("data")
	if err != nil {
		return nil, err
	}
	said = append(said, string(again.Bytes()[:2]), string(v.Bytes()[:2]), string(b.Bytes()[:2]))
	return said, errors.Join(v.Publish("view"), b.Publish("again"))
}

const size = 64 << 20

func produce() ([]string, error) {
	before := private()
	b, err := weft.Alloc(size)
	if err != nil {
		return nil, err
	}
	fill(b.Bytes(), 'x')
	if err := b.Publish("big"); err != nil {
		return nil, err
	}
	sum := 0
	for i := 0; i < size; i += 4096 {
		sum += int(b.Bytes()[i])
	}
	said := []string{fmt.Sprint(sum), misaligned(b.Bytes()), fmt.Sprint((private() - before) >> 14)}
	fill(b.Bytes(), 'y') // copies all of it: what the last line sees if that counts
	return append(said, fmt.Sprint((private()-before)>>14)), nil
}

func consume() ([]string, error) {
	before := private()
	v, err := weft.Take("make/big")
	if err != nil {
		return nil, err
	}
	sum := 0
	for i := 0; i < size; i += 4096 {
		sum += int(v.Bytes()[i])
	}
	said := []string{fmt.Sprint(sum), misaligned(v.Bytes()), fmt.Sprint((private() - before) >> 14)}
	fill(v.Bytes(), 'y')
	return append(said, fmt.Sprint((private()-before)>>14)), nil
}

// misaligned is how far behind a multiple of 2 MiB memory begins.
func misaligned(b []byte) string {
	return fmt.Sprint(uintptr(unsafe.Pointer(unsafe.SliceData(b))) % (2 << 20))
}

func threads() ([]string, error) {
	var all sync.WaitGroup
	failed := make(chan error, 3)
	all.Go(func() { failed <- weft.Wait("late", -1) })
	for t := range 2 {
		all.Go(func() {
			for i := range 200 {
				name, want := fmt.Sprintf("t%d.%d", t, i), fmt.Sprint(t, i)
				err := weft.Put(name, []byte(want))
				if err == nil {
					var v *weft.View
					if v, err = weft.Take(name); err == nil && string(v.Bytes()) != want {
						err = errors.New("the answer of another request")
					}
				}
				if err != nil {
					failed <- err
					return
				}
			}
			failed <- weft.Put(fmt.Sprint("done", t), nil)
		})
	}
	err := errors.Join(weft.Wait("done0", -1), weft.Put("late", nil))
	all.Wait()
	return []string{reason(errors.Join(err, <-failed, <-failed, <-failed))}, nil
}

func fill(b []byte, c byte) {
	for i := range b {
		b[i] = c
	}
}

// private is the memory in KiB that this process alone has.
func private() (kib int) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return -1 << 30
	}
	_, after, _ := strings.Cut(string(text), "RssAnon:")
	fmt.Sscan(after, &kib)
	return kib
}
