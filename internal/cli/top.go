package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/weft-run/weft/internal/client"
)

const (
	topEvery = time.Second            // between two looks at the server
	keyEvery = 100 * time.Millisecond // between two looks at the keyboard and the signals
)

func (sh *shell) topCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch what a server does",
		Long: `Show what a server does, once a second, until q or Ctrl-C: its runs, calls, sandboxes, store and process, and the
functions that have something to do. With --once, or where stdout is no terminal, it is shown once.`,
		Args: atMost(0, ""),
	}
	once := cmd.Flags().Bool("once", false, "show it once and leave")
	form := outputFlag(cmd, "table", "json", "yaml")
	return sh.server(cmd, func(ctx context.Context, c *client.Client, _ []string) error {
		if form.value == "table" && !*once && sh.outStyle.live {
			return sh.top(ctx, c)
		}
		s, err := c.Stats(ctx)
		if err != nil {
			return err
		}
		if form.value != "table" {
			return sh.printData(form.value, s)
		}
		v := topView{style: sh.outStyle, unicode: sh.unicode, width: sh.width, where: c.Address()}
		v.add(s)
		return sh.printLine("%s", strings.Join(v.lines(), "\n"))
	})
}

// top draws the view again and again on a screen of its own.
func (sh *shell) top(ctx context.Context, c *client.Client) error {
	v := topView{style: sh.outStyle, unicode: sh.unicode, where: c.Address()}
	return sh.screen(ctx, func(ctx context.Context) error {
		s, err := c.Stats(ctx)
		if v.fault = err; err == nil {
			v.add(s)
		}
		return lasting(err, len(v.seen) == 0)
	}, func(width, height int) string {
		v.width, v.height = width, height
		return v.frame()
	})
}

// lasting is an error after which it is no use to look again: one at the first look, or
// any but that the server is away for a while.
func lasting(err error, first bool) error {
	var none *client.NoServerError
	if err != nil && (first || !errors.As(err, &none) && client.Status(err) != 503) {
		return err
	}
	return nil
}

// screen shows on a screen of its own, until a key ends it, what draw gives after each look.
func (sh *shell) screen(ctx context.Context, look func(ctx context.Context) error, draw func(width, height int) string) error {
	out, ok := sh.stdout.(*os.File)
	if !ok {
		return errors.New("a live view needs a terminal")
	}
	keys := -1
	if in, ok := sh.stdin.(*os.File); ok && term.IsTerminal(int(in.Fd())) {
		old, err := term.MakeRaw(int(in.Fd()))
		if err != nil {
			return fmt.Errorf("read the keyboard: %w", err)
		}
		defer term.Restore(int(in.Fd()), old) // there is nobody to tell
		keys = int(in.Fd())
	}
	if _, err := fmt.Fprint(out, "\x1b[?1049h\x1b[?25l"); err != nil { // another screen, no cursor
		return fmt.Errorf("write to stdout: %w", err)
	}
	defer fmt.Fprint(out, "\x1b[?25h\x1b[?1049l")
	shown := [2]int{}
	for {
		begun := time.Now()
		err := look(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		for wait := topEvery; wait > 0; wait = topEvery - time.Since(begun) {
			width, height, err := term.GetSize(int(out.Fd()))
			if err != nil {
				width, height = 80, 24
			}
			if size := [2]int{width, height}; size != shown || wait == topEvery {
				shown = size
				if _, err := fmt.Fprint(out, draw(width, height)); err != nil {
					return fmt.Errorf("write to stdout: %w", err)
				}
			}
			leave, err := leaveKey(ctx, keys, min(wait, keyEvery))
			if leave || err != nil {
				return err
			}
		}
	}
}

// leaveKey waits a while for a key that ends the view: q, Escape or Ctrl-C.
func leaveKey(ctx context.Context, fd int, wait time.Duration) (bool, error) {
	if fd < 0 {
		select {
		case <-ctx.Done():
			return true, nil
		case <-time.After(wait):
			return false, nil
		}
	}
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, int(max(wait.Milliseconds(), 1)))
	switch {
	case ctx.Err() != nil:
		return true, nil
	case err != nil && !errors.Is(err, unix.EINTR):
		return false, fmt.Errorf("read the keyboard: %w", err)
	case err != nil || n == 0:
		return false, nil
	}
	var key [16]byte
	n, err = unix.Read(fd, key[:])
	if err != nil || n == 0 { // the terminal is gone
		return true, nil
	}
	return n == 1 && strings.ContainsRune("qQ\x1b\x03\x04", rune(key[0])), nil
}
