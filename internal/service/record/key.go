// Package record is what services have in the store: the keys, and the values of
// requests. Values begin with a version byte.
//
//	svc/s/SERVICE OBJECT FIELD [ENTRY]   state
//	svc/o/ID                             a request that has not ended (Request)
//	svc/d/ID                             one that has, until it is forgotten (Result)
//	svc/j/ID 0 N                         its journal, N as 8 bytes (package journal)
//	svc/p/ID 0 NAME                      what a promise was resolved with (Result)
//	svc/x/TIME ID                        when svc/d/ID is forgotten, TIME in ns as 8 bytes
//	svc/v/SERVICE                        objects of it may have a version of their state
package record

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/weft-run/weft/internal/service/wire"
)

const (
	StatePrefix   = "svc/s/" // of state: values of objects
	OpenPrefix    = "svc/o/" // of requests that have not ended
	donePrefix    = "svc/d/"
	journalPrefix = "svc/j/"
	promisePrefix = "svc/p/"
	ExpirePrefix  = "svc/x/" // of the times when results are forgotten
	// VersionedPrefix is that of services of which an object has, or had, a version.
	VersionedPrefix = "svc/v/"
)

// NameMax bounds names of services, objects, fields and requests, in bytes, and the
// keys of entries.
const NameMax = 200

// State is the key of a place in the state of an object.
func State(service, object string, k wire.Key) string {
	b := make([]byte, 0, len(StatePrefix)+len(service)+len(object)+len(k.Field)+len(k.Entry)+4)
	b = append(b, StatePrefix...)
	for _, s := range [...]string{service, object, k.Field} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	if !k.Item {
		return string(append(b, 0))
	}
	return string(append(append(b, 1), k.Entry...))
}

// Entries is what the keys of all entries of a map begin with.
func Entries(service, object, field string) string {
	return State(service, object, wire.Key{Field: field, Item: true})
}

// Shape is the key that stands for which entries a map has; no value has it.
func Shape(service, object, field string) string {
	return State(service, object, wire.Key{Field: field}) + "#"
}

// Open is the key of a request that has not ended.
func Open(id string) string { return OpenPrefix + id }

// Done is the key of a request's result.
func Done(id string) string { return donePrefix + id }

// Versioned is the key that says that objects of a service may have a version.
func Versioned(service string) string { return VersionedPrefix + service }

// Journal is what the keys of a request's journal begin with.
func Journal(id string) string { return journalPrefix + id + "\x00" }

// Chunk is the key of a part of a request's journal.
func Chunk(id string, n uint64) string {
	return string(binary.BigEndian.AppendUint64([]byte(Journal(id)), n))
}

// Promises is what the keys of a request's promises begin with.
func Promises(id string) string { return promisePrefix + id + "\x00" }

// Promise is the key of what a promise was resolved with.
func Promise(id, name string) string { return Promises(id) + name }

// Expire is the key that says when a result is forgotten.
func Expire(at int64, id string) string {
	return string(binary.BigEndian.AppendUint64([]byte(ExpirePrefix), uint64(at))) + id
}

// Expiry reads what Expire has made.
func Expiry(key string) (at int64, id string, err error) {
	rest, found := strings.CutPrefix(key, ExpirePrefix)
	if !found || len(rest) < 8 {
		return 0, "", fmt.Errorf("key %q is not the end of a retention", key)
	}
	return int64(binary.BigEndian.Uint64([]byte(rest))), rest[8:], nil
}

// Object is what the keys of an object's state begin with.
func Object(service, object string) string {
	k := State(service, object, wire.Key{})
	return k[:len(k)-2]
}

// Place reads what State has made: a place in the state of an object.
func Place(key string) (service, object string, k wire.Key, err error) {
	rest, found := strings.CutPrefix(key, StatePrefix)
	bad := fmt.Errorf("key %q is no place in the state", key)
	if !found {
		return "", "", k, bad
	}
	for _, s := range [...]*string{&service, &object, &k.Field} {
		n, size := binary.Uvarint([]byte(rest))
		if size <= 0 || n > uint64(len(rest)-size) {
			return "", "", k, bad
		}
		*s, rest = rest[size:size+int(n)], rest[size+int(n):]
	}
	if rest == "" || rest[0] > 1 {
		return "", "", k, bad
	}
	k.Item, k.Entry = rest[0] == 1, rest[1:]
	return service, object, k, nil
}

// Service is what the keys of the state of all objects of a service begin with.
func Service(service string) string {
	b := binary.AppendUvarint([]byte(StatePrefix), uint64(len(service)))
	return string(append(b, service...))
}
