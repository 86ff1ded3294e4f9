package secret

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// format is the first byte of a record.
const format = 1

// A record is a header, a nonce, and the sealed value.
//
//	0   format
//	1   id of the key, 8 bytes
//	9   when the value was set: nanoseconds since 1970, 8 bytes
//	17  nonce, 24 bytes: random, XChaCha20's are long enough for that
//	41  the sealed value, 16 bytes longer than the value
//
// The header, the app and the name are sealed with it as additional data, so that
// a record that is put under another name, app, key or time does not open.
const (
	headerLen = 1 + 8 + 8
	nonceLen  = chacha20poly1305.NonceSizeX
	overhead  = headerLen + nonceLen + chacha20poly1305.Overhead
)

// errDamaged says that a record is not what was sealed.
var errDamaged = errors.New("the record is damaged or belongs elsewhere")

// header is what is known of a record without its key.
type header struct {
	key     keyID
	updated time.Time
}

// readHeader reads the beginning of a record, which may be cut after it.
func readHeader(record []byte) (header, error) {
	if len(record) < overhead {
		return header{}, errDamaged
	}
	if record[0] != format {
		return header{}, fmt.Errorf("the record has format %d, this version of weft reads %d", record[0], format)
	}
	return header{
		key:     keyID(binary.BigEndian.Uint64(record[1:])),
		updated: time.Unix(0, int64(binary.BigEndian.Uint64(record[9:]))).UTC(),
	}, nil
}

// additional is what a record is sealed with beside its value. No two pairs of app
// and name give the same.
func additional(head []byte, app, name string) []byte {
	data := append([]byte("weft secret\x00"), head...)
	data = binary.AppendUvarint(data, uint64(len(app)))
	data = append(data, app...)
	return append(data, name...)
}

// seal makes a record.
func seal(k key, app, name string, value []byte, updated time.Time) ([]byte, error) {
	aead, err := chacha20poly1305.NewX(k.bytes[:])
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	record := make([]byte, headerLen+nonceLen, overhead+len(value))
	record[0] = format
	binary.BigEndian.PutUint64(record[1:], uint64(k.id))
	binary.BigEndian.PutUint64(record[9:], uint64(updated.UnixNano()))
	nonce := record[headerLen:]
	rand.Read(nonce) // it never fails
	return aead.Seal(record, nonce, value, additional(record[:headerLen], app, name)), nil
}

// unseal opens a record with the key that its header names.
func unseal(k key, app, name string, record []byte) ([]byte, error) {
	if len(record) < overhead {
		return nil, errDamaged
	}
	aead, err := chacha20poly1305.NewX(k.bytes[:])
	if err != nil {
		return nil, fmt.Errorf("unseal: %w", err)
	}
	value, err := aead.Open(nil, record[headerLen:headerLen+nonceLen], record[headerLen+nonceLen:], additional(record[:headerLen], app, name))
	if err != nil {
		return nil, errDamaged
	}
	return value, nil
}
