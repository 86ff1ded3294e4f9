package sim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/weft-run/weft/internal/engine"
)

// disk keeps blobs. What Save has written survives the node.
type disk struct {
	loop  *loop
	blobs map[string][]byte // by owner and name
	fails int               // Save fails once in so many times; 0: never
}

var _ engine.Blobs = (*disk)(nil)

var errDisk = errors.New("no space left on device (injected)")

func blobKey(owner, name string) string { return owner + "\x00" + name }

func (d *disk) Save(owner, name string, r io.Reader) (int64, error) {
	b, err := io.ReadAll(r)
	if err == nil && d.loop.chance(d.fails) {
		err = errDisk
	}
	if err != nil {
		return 0, err
	}
	d.blobs[blobKey(owner, name)] = b
	return int64(len(b)), nil
}

func (d *disk) Open(owner, name string) (engine.Blob, int64, error) {
	b, ok := d.blobs[blobKey(owner, name)]
	if !ok {
		return nil, 0, fmt.Errorf("open blob %s of %s: not there", name, owner)
	}
	return blob{bytes.NewReader(b)}, int64(len(b)), nil
}

type blob struct{ *bytes.Reader }

func (blob) Close() error { return nil }

func (d *disk) Remove(owner, name string) error {
	delete(d.blobs, blobKey(owner, name))
	return nil
}

func (d *disk) Drop(owner string) error {
	for _, name := range d.names(owner) {
		delete(d.blobs, blobKey(owner, name))
	}
	return nil
}

func (d *disk) Owners() ([]string, error) {
	var owners []string
	for _, key := range slices.Sorted(maps.Keys(d.blobs)) {
		owner, _, _ := strings.Cut(key, "\x00")
		if len(owners) == 0 || owners[len(owners)-1] != owner {
			owners = append(owners, owner)
		}
	}
	return owners, nil
}

func (d *disk) names(owner string) []string {
	var names []string
	for _, key := range slices.Sorted(maps.Keys(d.blobs)) {
		if o, name, _ := strings.Cut(key, "\x00"); o == owner {
			names = append(names, name)
		}
	}
	return names
}

// Claim gives an upload, which is a blob of the owner "upload", to a run.
func (d *disk) Claim(upload, owner, name string) (int64, error) {
	b, ok := d.blobs[blobKey("upload", upload)]
	if !ok {
		return 0, fmt.Errorf("claim upload %s: not there", upload)
	}
	d.blobs[blobKey(owner, name)] = b
	return int64(len(b)), nil
}

// Spend takes an upload away.
func (d *disk) Spend(upload string) error {
	delete(d.blobs, blobKey("upload", upload))
	return nil
}
