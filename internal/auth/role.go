package auth

import (
	"errors"
	"fmt"
	"net/http"
)

// What a check fails with.
var (
	ErrUnknown   = errors.New("unknown token")
	ErrExpired   = errors.New("the token has expired")
	ErrForbidden = errors.New("forbidden")
	// ErrInvalid says that a token cannot be made as it was asked for.
	ErrInvalid = errors.New("invalid")
)

// Role is what somebody may do; a greater one may do all that a smaller one may.
// The zero value may do nothing and has no text.
type Role uint8

// The roles. The package comment says what each is for.
const (
	Read Role = iota + 1
	Invoke
	Deploy
	Admin
)

var roleNames = [...]string{Read: "read", Invoke: "invoke", Deploy: "deploy", Admin: "admin"}

// ParseRole reads the text of a role, or fails with ErrInvalid.
func ParseRole(s string) (Role, error) {
	for r := Read; r <= Admin; r++ {
		if s == roleNames[r] {
			return r, nil
		}
	}
	return 0, fmt.Errorf("role %.40q is not one of read, invoke, deploy and admin: %w", s, ErrInvalid)
}

// String is the text of a role.
func (r Role) String() string {
	if !r.valid() {
		return fmt.Sprintf("role %d", uint8(r))
	}
	return roleNames[r]
}

func (r Role) valid() bool { return r >= Read && r <= Admin }

// MarshalText implements encoding.TextMarshaler.
func (r Role) MarshalText() ([]byte, error) {
	if !r.valid() {
		return nil, fmt.Errorf("role %d: %w", uint8(r), ErrInvalid)
	}
	return []byte(roleNames[r]), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Role) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRole(string(text))
	return err
}

// Allows reports whether a role may do what another one is needed for.
func (r Role) Allows(need Role) bool { return need.valid() && r.valid() && r >= need }

// Identity is somebody who is known.
type Identity struct {
	Name  string // of the token, or "uid 1000" at the unix socket
	Role  Role
	Token string // id of the token; "" at the unix socket
}

// Require returns nil if somebody may do what a role is needed for, otherwise a
// *Refusal that wraps ErrForbidden.
func (i Identity) Require(need Role) error {
	if i.Role.Allows(need) {
		return nil
	}
	return &Refusal{
		Status: http.StatusForbidden,
		Title:  "Not allowed",
		Detail: fmt.Sprintf("%s has the role %s, this needs %s; use a token with that role", i.Name, i.Role, need),
		Err:    ErrForbidden,
	}
}
