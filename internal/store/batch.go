package store

import (
	"bytes"
	"errors"
	"fmt"
)

// Op is one write or condition of a batch.
type Op struct {
	Kind       OpKind
	Key, Value []byte
	Version    Version // of OpIf
	Lease      uint64  // of OpIfLease
}

// OpKind says what an Op does.
type OpKind uint8

const (
	OpPut          OpKind = iota + 1
	OpDelete              // of a key that need not be there
	OpDeletePrefix        // of every key that begins with Key
	OpIf                  // Key has Version; 0: it is not there
	OpIfLease             // Lease has not run out
)

// Batch is what Append does in one step. The zero value is empty. Keys and
// values belong to the batch once they are given to it. Conditions are judged
// against the store before the batch; writes happen in their order.
type Batch struct {
	ops    []Op
	size   int
	writes int
}

func (b *Batch) add(op Op) {
	b.ops = append(b.ops, op)
	b.size += len(op.Key) + len(op.Value)
	if op.Kind <= OpDeletePrefix {
		b.writes++
	}
}

// Put sets a key. The first byte of a value is its caller's version of the
// format.
func (b *Batch) Put(key, value []byte) { b.add(Op{Kind: OpPut, Key: key, Value: value}) }

// Delete removes a key, if it is there.
func (b *Batch) Delete(key []byte) { b.add(Op{Kind: OpDelete, Key: key}) }

// DeletePrefix removes every key with a prefix.
func (b *Batch) DeletePrefix(prefix []byte) { b.add(Op{Kind: OpDeletePrefix, Key: prefix}) }

// If demands that a key was last written in a version.
func (b *Batch) If(key []byte, v Version) { b.add(Op{Kind: OpIf, Key: key, Version: v}) }

// IfAbsent demands that a key is not there.
func (b *Batch) IfAbsent(key []byte) { b.add(Op{Kind: OpIf, Key: key}) }

// IfLease demands that a lease has not run out.
func (b *Batch) IfLease(id uint64) { b.add(Op{Kind: OpIfLease, Lease: id}) }

// Len counts the writes.
func (b *Batch) Len() int { return b.writes }

// Size is the sum of keys and values, in bytes.
func (b *Batch) Size() int { return b.size }

// Ops lists what the batch does, for drivers.
func (b *Batch) Ops() []Op { return b.ops }

// Check finds what no driver takes: empty keys, and keys and values that are too
// long.
func (b *Batch) Check() error {
	for _, op := range b.ops {
		switch {
		case op.Kind == OpIfLease:
		case len(op.Key) == 0:
			return fmt.Errorf("write batch: %w", errNoKey)
		case len(op.Key) > KeyMax:
			return fmt.Errorf("key %q…: %d bytes, at most %d: %w", op.Key[:32], len(op.Key), KeyMax, ErrTooLarge)
		case len(op.Value) > ValueMax:
			return fmt.Errorf("value of key %q: %d bytes, at most %d: %w", op.Key, len(op.Value), ValueMax, ErrTooLarge)
		}
	}
	return nil
}

var errNoKey = errors.New("a key is empty")

// After returns the smallest key that does not begin with a prefix and is
// greater than those that do; nil if there is none.
func After(prefix []byte) []byte {
	end := prefix
	for len(end) > 0 && end[len(end)-1] == 0xff {
		end = end[:len(end)-1]
	}
	if len(end) == 0 {
		return nil
	}
	end = bytes.Clone(end)
	end[len(end)-1]++
	return end
}
