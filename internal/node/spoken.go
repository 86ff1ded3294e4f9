package node

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
)

// spoken passes on what a function writes to standard error while no run keeps it, line by
// line and without the secrets in it.
type spoken struct {
	line   func(text string)
	redact func([]byte) []byte // nil: there are no secrets

	mu   sync.Mutex
	rest []byte // of a line that has not ended; guarded by mu
	long bool   // that line is longer than spokenMax; guarded by mu
}

// spokenMax bounds a line, in bytes. Longer ones are left out: a part of one may begin or end
// with a part of a secret.
const spokenMax = 32 << 10

func (s *spoken) add(text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest = append(s.rest, text...)
	for {
		line, rest, whole := bytes.Cut(s.rest, []byte{'\n'})
		if len(line) > spokenMax {
			s.long, line = true, nil
		}
		if !whole {
			s.rest = line
			return
		}
		s.say(line)
		s.rest = rest
	}
}

// end passes on what was not ended by a newline.
func (s *spoken) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.say(s.rest)
	s.rest = nil
}

func (s *spoken) say(line []byte) { // s.mu is held
	if s.long {
		s.long, line = false, []byte("(a line of more than 32 KiB)")
	}
	if s.redact != nil {
		line = s.redact(line)
	}
	if line = bytes.TrimRight(line, " \t\r"); len(line) > 0 {
		s.line(strings.ToValidUTF8(string(line), "�"))
	}
}

// spoken is what hears an invocation of d: nil unless the log has the level debug.
func (s *Server) spoken(ctx context.Context, app, function string, redact func([]byte) []byte) *spoken {
	if s.cfg.Logger == nil || !s.cfg.Logger.Enabled(ctx, slog.LevelDebug) {
		return nil
	}
	return &spoken{redact: redact, line: func(text string) {
		s.cfg.Logger.Debug("said by a call", "app", app, "function", function, "line", text)
	}}
}
