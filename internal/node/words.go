package node

import (
	"bytes"
	"strings"
	"sync"
)

// lastWords is the end of what a function has written to standard error, which
// mostly says why it has failed. It belongs to no run, so nothing else keeps it.
type lastWords struct {
	log func(text []byte) // is told too, unless it is nil

	mu   sync.Mutex
	text []byte // guarded by mu, as what follows
	cut  bool   // text is not all
	line []byte // that has not ended, up to lastWordsMax and a byte
	died []byte // the line in which a program in Go says why it ends: its stacks come after that
}

// lastWordsMax bounds what is kept, in bytes.
const lastWordsMax = 1 << 10

func (w *lastWords) add(text []byte) {
	if w.log != nil {
		w.log(text)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, text...)
	w.cut = w.cut || len(w.text) > lastWordsMax
	w.text = append(w.text[:0], w.text[max(0, len(w.text)-lastWordsMax):]...)
	for len(text) > 0 {
		line, rest, whole := bytes.Cut(text, []byte{'\n'})
		w.line = append(w.line, line[:min(len(line), lastWordsMax+1-len(w.line))]...)
		if whole {
			w.ended()
		}
		text = rest
	}
}

// ended takes in a line that is whole; w.mu is held.
func (w *lastWords) ended() {
	last := bytes.HasPrefix(w.line, []byte("panic: ")) || bytes.HasPrefix(w.line, []byte("fatal error: "))
	if last && len(w.line) <= lastWordsMax {
		w.died = bytes.Clone(w.line)
	}
	w.line = w.line[:0]
}

// said is the last line, or the one in which a program in Go says why it ends, behind a
// colon and without the secrets in it.
func (w *lastWords) said(redact func([]byte) []byte) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := w.text
	if w.ended(); w.died != nil {
		text = w.died
	} else if w.cut { // the line that is cut may hold half a secret, which would not be found
		if _, rest, whole := bytes.Cut(text, []byte{'\n'}); whole {
			text = rest
		} else {
			text = nil
		}
	}
	if redact != nil {
		text = redact(text)
	}
	text = bytes.TrimSpace(text)
	text = bytes.TrimSpace(text[bytes.LastIndexByte(text, '\n')+1:])
	if len(text) == 0 {
		return ""
	}
	return ": " + strings.ToValidUTF8(string(text), "�")
}
