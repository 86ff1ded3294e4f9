package baseline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Transfer hands blocks of memory to a receiver that reads every word of them.
type Transfer interface {
	// Hand hands over one block. Its length is a multiple of eight.
	Hand(ctx context.Context, block []byte) (Handed, error)
	// Close ends the receiver.
	Close() error
}

// Handed is one hand-over.
type Handed struct {
	Publish time.Duration // to make the block available to another process: fill a memfd, write a file; zero where that is not a step of its own
	Read    time.Duration // from then until the receiver had read the last word, by the clock that both processes share
	Sum     uint64        // of the words, as the receiver read them
}

// Sum adds up the 64-bit words of block.
func Sum(block []byte) uint64 {
	sum := uint64(0)
	for _, w := range words(block) {
		sum += w
	}
	return sum
}

// words is block as 64-bit words. Blocks come from make, mmap or an arena, all of which align to eight bytes.
func words(block []byte) []uint64 {
	if len(block) < 8 {
		return nil
	}
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(block))), len(block)/8)
}

// NewBlock is a block of size bytes whose word i holds i, all of it touched.
func NewBlock(size int) []byte {
	block := make([]byte, size)
	for i, w := 0, words(block); i < len(w); i++ {
		w[i] = uint64(i)
	}
	return block
}

// SumOfBlock is the Sum of NewBlock(size).
func SumOfBlock(size int) uint64 {
	n := uint64(size / 8)
	if n == 0 {
		return 0
	}
	return n * (n - 1) / 2
}

// handOver times a hand-over: publish, if there is such a step, then send, after which the answer comes from r.
func (r *receiver) handOver(ctx context.Context, publish, send func() error) (h Handed, err error) {
	deadline, _ := ctx.Deadline() // zero: none
	if err := r.conn.SetDeadline(deadline); err != nil {
		return h, err
	}
	start := monotonic()
	published := start
	if publish != nil {
		if err := publish(); err != nil {
			return h, err
		}
		published = monotonic()
	}
	if err := send(); err != nil {
		return h, err
	}
	at, sum, err := parseAnswer(r.conn)
	if err != nil {
		return h, err
	}
	return Handed{Publish: time.Duration(published - start), Read: time.Duration(at - published), Sum: sum}, nil
}

// NewUnixSocket copies blocks through a unix socket.
func NewUnixSocket() (Transfer, error) {
	r, err := startReceiver(roleSocket)
	if err != nil {
		return nil, err
	}
	return unixSocket{r}, nil
}

type unixSocket struct{ *receiver }

func (t unixSocket) Hand(ctx context.Context, block []byte) (Handed, error) {
	h, err := t.handOver(ctx, nil, func() error {
		if err := writeSize(t.conn, len(block)); err != nil {
			return err
		}
		_, err := t.conn.Write(block)
		return err
	})
	if err != nil {
		return h, fmt.Errorf("hand over by unix socket: %w", err)
	}
	return h, nil
}

// NewFile writes blocks to a file in dir and reads them from it, both through the page cache.
func NewFile(dir string) (Transfer, error) {
	path := filepath.Join(dir, "block")
	r, err := startReceiver(roleFile, path)
	if err != nil {
		return nil, err
	}
	return file{r, path}, nil
}

type file struct {
	*receiver
	path string
}

func (t file) Hand(ctx context.Context, block []byte) (Handed, error) {
	h, err := t.handOver(ctx,
		func() error { return os.WriteFile(t.path, block, 0o600) },
		func() error { return writeSize(t.conn, len(block)) })
	if err := errors.Join(err, os.Remove(t.path)); err != nil {
		return h, fmt.Errorf("hand over by file: %w", err)
	}
	return h, nil
}

// NewMemfd fills a new memfd with each block and passes its descriptor (SCM_RIGHTS) to the receiver, which maps it.
func NewMemfd() (Transfer, error) {
	r, err := startReceiver(roleMemfd)
	if err != nil {
		return nil, err
	}
	return memfd{r}, nil
}

type memfd struct{ *receiver }

func (t memfd) Hand(ctx context.Context, block []byte) (Handed, error) {
	var f *os.File
	h, err := t.handOver(ctx,
		func() error {
			fd, err := unix.MemfdCreate("block", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
			if err != nil {
				return err
			}
			f = os.NewFile(uintptr(fd), "block")
			if _, err := f.Write(block); err != nil {
				return err
			}
			_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK)
			return err
		},
		func() error {
			var size bytes.Buffer
			if err := writeSize(&size, len(block)); err != nil {
				return err
			}
			_, _, err := t.conn.WriteMsgUnix(size.Bytes(), unix.UnixRights(int(f.Fd())), nil)
			return err
		})
	if f != nil {
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return h, fmt.Errorf("hand over by memfd: %w", err)
	}
	return h, nil
}

// NewHTTP posts blocks to a server in another process over the loopback interface, on a connection that is kept open.
func NewHTTP() (Transfer, error) {
	r, err := startReceiver(roleHTTP)
	if err != nil {
		return nil, err
	}
	port, err := readSize(r.conn)
	if err != nil {
		return nil, fmt.Errorf("start http receiver: %w", errors.Join(err, r.Close()))
	}
	// No proxy of the environment may stand between the two.
	client := &http.Client{Transport: &http.Transport{WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10}}
	return &httpPost{r, client, fmt.Sprintf("http://127.0.0.1:%d/", port)}, nil
}

type httpPost struct {
	*receiver
	client *http.Client
	url    string
}

func (t *httpPost) Hand(ctx context.Context, block []byte) (h Handed, err error) {
	start := monotonic()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(block))
	if err != nil {
		return h, fmt.Errorf("hand over by http: %w", err)
	}
	response, err := t.client.Do(request)
	if err != nil {
		return h, fmt.Errorf("hand over by http: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		message, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return h, fmt.Errorf("hand over by http: %s: %s", response.Status, bytes.TrimSpace(message))
	}
	at, sum, err := parseAnswer(response.Body)
	if err != nil {
		return h, fmt.Errorf("hand over by http: %w", err)
	}
	return Handed{Read: time.Duration(at - start), Sum: sum}, nil
}

func (t *httpPost) Close() error {
	t.client.CloseIdleConnections()
	return t.receiver.Close()
}

// NewResident hands over by name within this process: a lock and a map entry. The receiver reads memory that is already there. It is the
// limit of what any hand-over can reach.
func NewResident() Transfer { return &resident{slots: map[string][]byte{}} }

type resident struct {
	mu    sync.Mutex
	slots map[string][]byte // guarded by mu
}

func (t *resident) Hand(_ context.Context, block []byte) (Handed, error) {
	start := time.Now()
	t.mu.Lock()
	t.slots["block"] = block
	t.mu.Unlock()
	published := time.Now()
	t.mu.Lock()
	view := t.slots["block"]
	delete(t.slots, "block")
	t.mu.Unlock()
	sum := Sum(view)
	return Handed{Publish: published.Sub(start), Read: time.Since(published), Sum: sum}, nil
}

func (t *resident) Close() error { return nil }
