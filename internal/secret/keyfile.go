package secret

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// keyID names a key: the first bytes of its hash, so that a key cannot be taken
// for another one.
type keyID uint64

type key struct {
	id    keyID
	bytes [32]byte
}

func newKey() key {
	var b [32]byte
	rand.Read(b[:]) // it never fails
	return keyOf(b)
}

func keyOf(b [32]byte) key {
	hash := sha256.Sum256(b[:])
	return key{keyID(binary.BigEndian.Uint64(hash[:])), b}
}

// keyring are the keys of a key file. Values are sealed with the last one; others
// are there while a rotation is under way.
type keyring []key

func (r keyring) current() key { return r[len(r)-1] }

func (r keyring) find(id keyID) (key, bool) {
	for _, k := range r {
		if k.id == id {
			return k, true
		}
	}
	return key{}, false
}

// keyFileTitle is the first line of a key file; a key a line follows.
const keyFileTitle = "weft secret keys 1"

func (r keyring) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, keyFileTitle)
	for _, k := range r {
		fmt.Fprintln(&b, base64.StdEncoding.EncodeToString(k.bytes[:]))
	}
	return b.Bytes()
}

// decodeKeys reads a key file. Its errors hold nothing of the content.
func decodeKeys(text []byte) (keyring, error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	if !lines.Scan() || strings.TrimSpace(lines.Text()) != keyFileTitle {
		return nil, fmt.Errorf("its first line is not %q: it is not a key file of this version of weft", keyFileTitle)
	}
	var r keyring
	for n := 2; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		b, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(b) != 32 {
			return nil, fmt.Errorf("line %d is not a key", n)
		}
		k := keyOf([32]byte(b))
		if _, twice := r.find(k.id); twice {
			return nil, fmt.Errorf("line %d holds a key that was there before", n)
		}
		r = append(r, k)
	}
	if lines.Err() != nil || len(r) == 0 {
		return nil, errors.New("it holds no key")
	}
	return r, nil
}

// readKeys reads a key file. It fails with os.ErrNotExist, and if others than its
// owner may read it. An empty file holds no keys.
func readKeys(path string) (keyring, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := st.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("key file %s has mode %04o, so others may read it: run `chmod 600 %s`", path, mode, path)
	}
	if st.Size() > 1<<20 {
		return nil, fmt.Errorf("key file %s: it is too large to be one", path)
	}
	text := make([]byte, st.Size())
	if _, err := f.ReadAt(text, 0); err != nil && len(text) > 0 {
		return nil, err
	}
	if len(text) == 0 {
		return nil, nil
	}
	r, err := decodeKeys(text)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return r, nil
}

// unfinished is where a key file is written before it gets its name.
func unfinished(path string) string { return path + ".new" }

// sweepKeys removes what an interrupted writeKeys has left.
func sweepKeys(path string) error {
	if err := os.Remove(unfinished(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// writeKeys replaces a key file. All of it, its name too, is on disk on return;
// after an error or a crash the file is the old one or the new one.
func writeKeys(path string, r keyring) error {
	if err := sweepKeys(path); err != nil {
		return err
	}
	f, err := os.OpenFile(unfinished(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(r.encode())
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, sweepKeys(path))
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
