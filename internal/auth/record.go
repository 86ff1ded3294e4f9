package auth

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// prefix of the keys of tokens; the id follows.
const prefix = "token/"

// format is the first byte of a record.
const format = 1

// record is a token in the store. Of the token's text there is only the hash: it
// has 130 random bits, so that a fast hash without salt is enough.
type record struct {
	Name    string    `json:"name"`
	Role    Role      `json:"role"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
	Used    time.Time `json:"used,omitzero"`
	Hash    []byte    `json:"hash"` // SHA-256 of the whole text, id included
}

func (r *record) encode() ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode token: %w", err)
	}
	return append([]byte{format}, text...), nil
}

// decode reads a record. What it accepts, encode writes.
func decode(value []byte) (*record, error) {
	if len(value) == 0 {
		return nil, errors.New("the record is empty")
	}
	if value[0] != format {
		return nil, fmt.Errorf("the record has format %d, this version of weft reads %d", value[0], format)
	}
	var r record
	if err := json.Unmarshal(value[1:], &r); err != nil {
		return nil, fmt.Errorf("the record is damaged: %w", err)
	}
	if !r.Role.valid() || len(r.Hash) != sha256.Size {
		return nil, errors.New("the record is damaged: it has no role or no hash")
	}
	return &r, nil
}
