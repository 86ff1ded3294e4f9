package engine

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/sandbox/domain"
)

// kept is what a call has done to the buffers of its run: enough to have them
// again after a restart.
type kept struct {
	Call  flow.CallID   `json:"call"`
	Puts  []domain.Slot `json:"puts,omitempty"`
	Takes []string      `json:"takes,omitempty"`
	Blob  string        `json:"blob,omitempty"` // holds the puts that are not inline, one after the other
}

// keep writes down what a call has published and taken, ahead of the entry
// that says that it has finished: a step is finished for recovery when both are
// on disk.
func (r *run) keep(a *active, effects domain.Effects) {
	if len(effects.Puts) == 0 && len(effects.Takes) == 0 {
		return
	}
	k := kept{Call: a.Call, Puts: effects.Puts, Takes: effects.Takes}
	var parts []io.Reader
	var releases []func()
	for _, s := range effects.Puts {
		if s.Inline != nil || s.Size == 0 {
			continue
		}
		part, _, release, err := r.domain.Hold(s.Name)
		if err != nil {
			r.e.breakDown(fmt.Errorf("keep buffer %s of run %s: %w", s.Name, r.id, err))
			return
		}
		parts, releases = append(parts, part), append(releases, release)
		k.Blob = fmt.Sprintf("call/%d", a.Call)
	}
	data, err := json.Marshal(k)
	if err != nil {
		r.e.breakDown(fmt.Errorf("keep buffers of run %s: %w", r.id, err))
		return
	}
	r.shelf.keep(k)
	l := r.journal.add(lineKept, data)
	if len(parts) > 0 {
		r.journal.save(l, k.Blob, io.MultiReader(parts...), func() {
			for _, release := range releases {
				release()
			}
		})
	}
}

// shelf is what a run has in buffers, as its journal tells it.
type shelf struct {
	blobs Blobs
	run   string
	slots map[string]domain.Saved
	order []string
	where map[string]string // blob of each slot that has one
}

func newShelf(blobs Blobs, run string, uploads []upload) *shelf {
	s := &shelf{blobs: blobs, run: run, slots: map[string]domain.Saved{}, where: map[string]string{}}
	for _, u := range uploads {
		s.put(domain.Slot{Name: u.Slot, Size: u.Size}, uploadBlob(u.Slot), 0)
	}
	return s
}

// uploadBlob is the blob of an uploaded buffer.
func uploadBlob(slot string) string { return "upload" + slot }

func (s *shelf) put(slot domain.Slot, blob string, at int64) {
	saved := domain.Saved{Slot: slot}
	if slot.Inline == nil {
		saved.Open = func() (io.ReadCloser, error) { return s.part(blob, at, slot.Size) }
		s.where[slot.Name] = blob
	}
	if _, known := s.slots[slot.Name]; !known {
		s.order = append(s.order, slot.Name)
	}
	s.slots[slot.Name] = saved
}

// keep takes in what a call has done.
func (s *shelf) keep(k kept) {
	var at int64
	for _, slot := range k.Puts {
		if slot.Inline == nil && slot.Size == 0 {
			slot.Inline = []byte{}
		}
		s.put(slot, k.Blob, at)
		if slot.Inline == nil {
			at += slot.Size
		}
	}
	for _, name := range k.Takes {
		if saved, ok := s.slots[name]; ok {
			saved.Taken = true
			s.slots[name] = saved
		}
	}
}

// discard takes back what calls below a path have published.
func (s *shelf) discard(path string) {
	for name, saved := range s.slots {
		if strings.HasPrefix(saved.By, path+"/") {
			delete(s.slots, name)
		}
	}
}

// all lists the slots in the order in which they were published.
func (s *shelf) all() []domain.Saved {
	var all []domain.Saved
	for _, name := range s.order {
		if saved, ok := s.slots[name]; ok {
			all = append(all, saved)
			delete(s.slots, name) // a name that was discarded and published again is there twice
		}
	}
	for _, saved := range all {
		s.slots[saved.Name] = saved
	}
	return all
}

// part opens a range of a blob.
func (s *shelf) part(blob string, at, size int64) (io.ReadCloser, error) {
	b, whole, err := s.blobs.Open(s.run, blob)
	if err != nil {
		return nil, fmt.Errorf("open buffer of run %s: %w", s.run, err)
	}
	if at < 0 || size < 0 || at+size > whole {
		b.Close()
		return nil, fmt.Errorf("open buffer of run %s: blob %s has %d bytes, wanted are %d from %d", s.run, blob, whole, size, at)
	}
	return &section{io.NewSectionReader(b, at, size), b}, nil
}

// section is a range of a blob that is closed with it.
type section struct {
	*io.SectionReader
	io.Closer
}

// trim drops the blobs of buffers that nobody can ask for any longer: all of
// them but those that the output names. A run that failed keeps everything,
// since it may be retried.
func (r *run) trim() {
	if r.outcome.Status != flow.Succeeded || len(r.shelf.where) == 0 {
		return
	}
	needed := map[string]bool{}
	eachBuffer(r.outcome.Output, func(slot string) { needed[r.shelf.where[slot]] = true })
	blobs := map[string]bool{}
	for _, blob := range r.shelf.where {
		if !needed[blob] {
			blobs[blob] = true
		}
	}
	r.e.work(func() {
		for _, blob := range slices.Sorted(maps.Keys(blobs)) {
			r.e.o.Blobs.Remove(r.id, blob) // what stays goes with the run
		}
	})
}

// eachBuffer visits the slots that a value refers to.
func eachBuffer(v any, visit func(slot string)) {
	switch v := v.(type) {
	case map[string]any:
		if slot, ok := bufferSlot(v); ok {
			visit(slot)
			return
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			eachBuffer(v[key], visit)
		}
	case []any:
		for _, item := range v {
			eachBuffer(item, visit)
		}
	}
}

// uploadPrefix begins the slots of buffers that were uploaded.
const uploadPrefix = "/upload-"

// claim makes the uploaded buffers that the input names the run's own.
func (r *run) claim() error {
	var err error
	eachBuffer(r.rec.Input, func(slot string) {
		id, uploaded := strings.CutPrefix(slot, uploadPrefix)
		if !uploaded || err != nil {
			return
		}
		if r.e.o.Blobs == nil {
			err = fmt.Errorf("buffer %s: there are no uploads here", slot)
			return
		}
		var size int64
		if size, err = r.e.o.Blobs.Claim(id, r.id, uploadBlob(slot)); err == nil {
			r.rec.Uploads = append(r.rec.Uploads, upload{Slot: slot, Size: size})
		}
	})
	return err
}

// disclaim lets go of what claim has taken for a run that is not to be; the
// uploads are still there for others.
func (r *run) disclaim() {
	if len(r.rec.Uploads) > 0 {
		r.e.work(func() { r.e.o.Blobs.Drop(r.id) }) // what stays is swept at the next start
	}
}

// spend takes the uploads of a run away that is there for good.
func (r *run) spend() {
	uploads := r.rec.Uploads
	if len(uploads) == 0 {
		return
	}
	r.e.work(func() {
		for _, u := range uploads {
			r.e.o.Blobs.Spend(strings.TrimPrefix(u.Slot, uploadPrefix)) // what stays is swept by age
		}
	})
}
