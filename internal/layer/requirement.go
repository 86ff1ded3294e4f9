package layer

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxIncludes bounds the files that a requirements file includes.
const maxIncludes = 100

// name is what messages and the lock call the requirements.
func (r Request) name() string {
	if r.File != "" {
		return filepath.ToSlash(filepath.Clean(r.File))
	}
	return "requirements of " + r.Function
}

// sum is the digest of all that a request says, comments and empty lines apart:
// of the files that it includes (-r, -c) too.
func (r Request) sum() (string, error) {
	h := sha256.New()
	if r.File == "" {
		for _, line := range r.Lines {
			fmt.Fprintln(h, strings.TrimSpace(line))
		}
	} else if err := sumFile(h, filepath.Join(r.Dir, r.File), new(int)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

func sumFile(w io.Writer, path string, seen *int) error {
	if *seen++; *seen > maxIncludes {
		return fmt.Errorf("%s is one of more than %d files that include each other", path, maxIncludes)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		line, _, _ = strings.Cut(line, " #")
		fmt.Fprintln(w, strings.TrimSpace(line))
		if name := included(line); name != "" {
			if !filepath.IsAbs(name) {
				name = filepath.Join(filepath.Dir(path), name)
			}
			if err := sumFile(w, name, seen); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// included is the file that a line of a requirements file includes, if it does.
func included(line string) string {
	for _, option := range []string{"-r", "--requirement", "-c", "--constraint"} {
		rest, ok := strings.CutPrefix(line, option)
		if !ok || rest == "" || strings.HasPrefix(option, "--") && rest[0] != ' ' && rest[0] != '=' {
			continue
		}
		name := strings.TrimSpace(strings.TrimPrefix(rest, "="))
		if !strings.Contains(name, "://") {
			return name
		}
	}
	return ""
}
