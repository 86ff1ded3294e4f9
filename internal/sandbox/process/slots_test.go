package process

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/weft-run/weft/internal/buffer"
)

// memory is the slots of a run, in memory: what a domain will be.
type memory struct {
	mu      sync.Mutex
	table   *buffer.Table
	supply  *buffer.Supply
	changed chan struct{} // closed and replaced at every publication
	made    []*buffer.Segment
}

func newMemory(t testing.TB, quota int64) *memory {
	m := &memory{table: buffer.NewTable(quota), changed: make(chan struct{}),
		supply: buffer.NewSupply(buffer.SupplyOptions{Resident: -1})}
	t.Cleanup(func() {
		m.table.Drop()
		for _, s := range m.made {
			s.Release()
		}
		m.supply.Close()
	})
	return m
}

// attempt is the slots as one attempt sees them. Puts are visible at once.
func (m *memory) attempt(path string) *attempt {
	return &attempt{m, buffer.Attempt{Path: path, Number: 1}}
}

type attempt struct {
	m *memory
	a buffer.Attempt
}

var _ Slots = (*attempt)(nil)

func (a *attempt) Need(n int64) (*buffer.Segment, error) {
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	s, err := a.m.supply.Get(n)
	if err != nil {
		return nil, err
	}
	a.m.made = append(a.m.made, s)
	return s, a.m.table.Alloc(a.a, s)
}

func (a *attempt) Put(name string, v buffer.Value) error {
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	if err := a.m.table.Put(a.a, name, v); err != nil {
		return err
	}
	_, err := a.m.table.Commit(a.a)
	close(a.m.changed)
	a.m.changed = make(chan struct{})
	return err
}

func (a *attempt) Take(name string, typ uint64) (buffer.Value, error) {
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	return a.m.table.Take(a.a, name, typ)
}

func (a *attempt) Borrow(name string, typ uint64) (buffer.Value, error) {
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	return a.m.table.Borrow(a.a, name, typ)
}

func (a *attempt) Len(name string) (int64, uint64, error) {
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	return a.m.table.Len(a.a, name)
}

func (a *attempt) Wait(ctx context.Context, name string) error {
	for {
		a.m.mu.Lock()
		there, err := a.m.table.Wait(a.a, name)
		a.m.table.Unwait(a.a)
		changed := a.m.changed
		a.m.mu.Unlock()
		if there || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// native is what a C program needs to speak with the node: no more than a header.
const native = `
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
struct frame { uint32_t op, id; uint64_t size, type, segment; uint32_t name, data; };
static long long now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000LL + t.tv_nsec; }
static struct frame ask(uint32_t op, const char *name, uint64_t size, uint64_t segment, int *fd, char *text) {
	struct frame f = {op, 1, size, 0, segment, (uint32_t)strlen(name), 0};
	struct iovec out[2] = {{&f, sizeof f}, {(void *)name, strlen(name)}}, in[2] = {{&f, sizeof f}, {text, 65536}};
	union { struct cmsghdr head; char room[CMSG_SPACE(sizeof(int))]; } control;
	struct msghdr m = {.msg_iov = out, .msg_iovlen = 2};
	int sock = atoi(getenv("WEFT_FD"));
	if (sendmsg(sock, &m, 0) < 0) { perror("send"); exit(1); }
	m.msg_iov = in; m.msg_control = &control; m.msg_controllen = sizeof control;
	if (recvmsg(sock, &m, 0) <= 0) { perror("receive"); exit(1); }
	if (f.op) { text[f.name] = 0; fprintf(stderr, "status %u: %s\n", f.op, text); exit(1); }
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	*fd = -1;
	if (c) memcpy(fd, CMSG_DATA(c), sizeof *fd);
	return f;
}
`

func TestBuffersPassBetweenRuntimes(t *testing.T) {
	p := newPool(t, Options{})
	m := newMemory(t, 0)
	producer := cFunction(t, native+`
static char text[65537];
int main(void) {
	int fd;
	struct frame f = ask(1, "", 1 << 20, 0, &fd, text);
	char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	memset(p, 'x', 1 << 20);
	p[0] = 'a';
	munmap(p, 1 << 20);
	ask(2, "data", 1 << 20, f.segment, &fd, text);
	return 0;
}
`)
	if r := run(t, p, Call{Function: producer, Slots: m.attempt("make"), Log: func(l string) { t.Log(l) }}); r.Failure != nil {
		t.Fatal(r.Failure)
	}
	consumer := pythonFunction(t, `
import weft

def handler(event, context):
    weft.wait("make/data")
    seen = weft.borrow("make/data")
    first = bytes(seen[:2])
    seen[0] = ord("z")                     # private to this call
    again = weft.borrow("make/data")
    assert bytes(again[:1]) == b"a"
    buf = weft.alloc(len(seen) * 2)
    buf.view[: len(seen)] = seen
    weft.put("twice", buf)
    buf.view[0] = 0                        # after publication: changes nothing for others
    assert bytes(weft.borrow("twice")[:1]) == b"z"
    weft.put("small", b"hello")
    weft.put("large", bytes(100_000))
    assert bytes(weft.take("small")) == b"hello"
    try:
        weft.take("small")
    except weft.NotFound:
        pass
    else:
        raise AssertionError("taken twice")
    try:
        weft.put("small", b"again")
    except weft.Exists:
        pass
    else:
        raise AssertionError("published twice")
    try:
        weft.wait("never", timeout=0.01)
    except TimeoutError:
        pass
    else:
        raise AssertionError("did not wait")
    return [first.decode(), len(seen), len(weft.take("large"))]
`)
	r := run(t, p, Call{Function: consumer, Slots: m.attempt("use"), Log: func(l string) { t.Log(l) }})
	if r.Failure != nil || string(r.Output) != `["ax",1048576,100000]` {
		t.Fatalf("%s, %v", r.Output, r.Failure)
	}
	v, err := m.attempt("look").Borrow("use/twice", 0)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2)
	if _, err := v.Holder.(*buffer.Segment).ReadAt(b, 0); err != nil || string(b) != "zx" || v.Len != 2<<20 {
		t.Errorf("%q, %d bytes, %v", b, v.Len, err)
	}
}

func TestBuffersRefuse(t *testing.T) {
	p := newPool(t, Options{})
	m := newMemory(t, 1<<20)
	f := pythonFunction(t, `
import os, socket, weft

def handler(event, context):
    try:
        if event == "quota":
            weft.alloc(64 << 20)
        if event == "mapped":                   # keeps a writable mapping of what it publishes
            import mmap
            b = weft.alloc(65536)
            extra = mmap.mmap(b._fd, 65536)
            weft.put("x", b)
            weft.borrow("x")                    # a reader, while the mapping is there
        if event == "foreign":
            weft._slots._connection.ask(2, "x", 10, 0, 12345)
        if event == "name":
            weft.put("a b\n", b"")
        if event == "closed":
            os.close(3)
            weft.put("x", b"1")
        if event == "garbage":
            socket.socket(fileno=os.dup(3)).send(b"x" * 50)
            weft.put("x", b"1")
    except weft.Error as e:
        return "%s: %s" % (type(e).__name__, e)
    return "nothing"
`)
	for event, want := range map[string]string{
		"quota": "QuotaExceeded: ", "mapped": "Error: ", "foreign": "Error: the call has no such buffer", "name": "Error: ",
		"closed": "Closed: the connection for buffers is closed: ", "garbage": "Closed: ",
	} {
		t.Run(event, func(t *testing.T) {
			r := run(t, p, Call{Function: f, Slots: m.attempt(event), Input: []byte(`"` + event + `"`), Log: func(l string) { t.Log(l) }})
			if r.Failure != nil || !strings.HasPrefix(string(r.Output), `"`+want) {
				t.Errorf("%s, %v; want %s", r.Output, r.Failure, want)
			}
		})
	}
	r := run(t, p, Call{Function: f, Input: []byte(`"name"`)})
	if want := "Closed: this call has no buffers"; !strings.Contains(string(r.Output), want) {
		t.Errorf("%s, %v; want %s", r.Output, r.Failure, want)
	}
}

func TestWaitEndsWithTheCall(t *testing.T) {
	p := newPool(t, Options{})
	f := pythonFunction(t, "import weft\ndef handler(e, c):\n    print('waits', flush=True)\n    weft.wait('other/x')\n")
	waits := make(chan struct{})
	m := newMemory(t, 0)
	process, err := p.Start(context.Background(), Call{Function: f, Slots: m.attempt("a"), Log: func(string) { close(waits) }})
	if err != nil {
		t.Fatal(err)
	}
	<-waits
	process.Kill()
	if r := process.Wait(); r.Failure == nil || r.Failure.Kind != KindKilled {
		t.Errorf("%+v", r)
	}
	if len(m.table.Waiting()) != 0 {
		t.Error("the table still notes a wait")
	}
}

// A call is told to give its buffers memory before it fills them, up to half of what it may use.
func TestMemoryAheadOfNeed(t *testing.T) {
	p := newPool(t, Options{})
	f := cFunction(t, native+`
static char text[65537];
int main(void) {
	int fd;
	for (int i = 0; i < 4; i++) printf("%d", (int)ask(1, "", (i == 3 ? 1 : 15) << 20, 0, &fd, text).type);
	return 0;
}
`)
	f.Limits.Memory = 64 << 20
	r := run(t, p, Call{Function: f, Slots: newMemory(t, 0).attempt("make")})
	if r.Failure != nil || string(r.Output) != "1101" {
		t.Errorf("%s, %v; want 1101: 15 and 15 of 32 MiB, 15 no more, 1 of the rest", r.Output, r.Failure)
	}
}

func TestSegmentOfOutput(t *testing.T) {
	p := newPool(t, Options{})
	r := run(t, p, Call{Function: shellFunction(t, "head -c 100000 /dev/zero | tr '\\0' y")})
	if r.Failure != nil || r.Size != 100000 || r.Output != nil || r.File == nil {
		t.Fatalf("%+v", r)
	}
	s, err := r.Segment(7)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	b := make([]byte, 1)
	if _, err := s.ReadAt(b, 99999); err != nil || b[0] != 'y' || !s.Sealed() || s.Capacity() != 128<<10 {
		t.Errorf("%q, sealed %v, %d bytes, %v", b, s.Sealed(), s.Capacity(), err)
	}
	if _, err := r.Segment(8); err == nil {
		t.Error("the output was given away twice")
	}
}

func FuzzFrame(f *testing.F) {
	f.Add((&frame{op: opPut, id: 1, size: 3, name: "x", data: []byte("abc")}).append(nil))
	f.Add(make([]byte, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseFrame(b)
		if err != nil {
			return
		}
		if again := got.append(nil); string(again) != string(b) {
			t.Errorf("%x became %x", b, again)
		}
	})
}

func FuzzMessage(f *testing.F) {
	f.Add((&message{kind: msgEnded, id: 3, a: 9, v: [4]int64{1, 2, 3, 4}, text: []byte("x")}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseMessage(b)
		if err != nil {
			return
		}
		if again := got.append(nil); string(again) != string(b) {
			t.Errorf("%x became %x", b, again)
		}
	})
}

func TestStatusOfErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want uint32
	}{
		{buffer.ErrNotFound, statusNotFound}, {fmt.Errorf("x: %w", buffer.ErrExists), statusExists},
		{context.DeadlineExceeded, statusTimeout}, {errors.New("x"), statusOther},
		{&buffer.Deadlock{}, statusDeadlock}, {buffer.ErrSpace, statusSpace},
	} {
		if got := statusOf(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}
