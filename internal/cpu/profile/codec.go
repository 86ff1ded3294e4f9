package profile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// version is the first byte of an encoded profile.
const version = 1

// ErrFormat is wrapped by the errors of UnmarshalBinary.
var ErrFormat = errors.New("not a CPU profile")

// MaxEncoded is the greatest length of an encoded profile, in bytes.
const MaxEncoded = 1 + binary.MaxVarintLen64 + 1 + Buckets*9

// MarshalBinary encodes the profile: a version byte, the number of calls, and of each
// bucket that holds something its number, its weight and the sum of its times. An
// unfinished run of unusual calls is left out. It never fails.
func (p *Profile) MarshalBinary() ([]byte, error) {
	return p.AppendBinary(make([]byte, 0, 64))
}

// AppendBinary is MarshalBinary that appends to b.
func (p *Profile) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, version)
	b = binary.AppendUvarint(b, p.calls)
	at, n := len(b), byte(0)
	b = append(b, 0)
	for i, w := range p.weight {
		if w == 0 {
			continue
		}
		n++
		b = append(b, byte(i))
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(w))
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(p.sum[i]))
	}
	b[at] = n
	return b, nil
}

// UnmarshalBinary decodes what MarshalBinary made. Anything else is refused with an
// error that wraps ErrFormat, and then the profile is as it was before.
func (p *Profile) UnmarshalBinary(b []byte) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("decode CPU profile: "+format+": %w", append(args, ErrFormat)...)
	}
	if len(b) == 0 {
		return bad("it is empty")
	}
	if b[0] != version {
		return bad("version %d, and only %d is known", b[0], version)
	}
	var q Profile
	var n int
	if q.calls, n = binary.Uvarint(b[1:]); n <= 0 {
		return bad("number of calls is cut short")
	}
	b = b[1+n:]
	if len(b) == 0 || len(b) != 1+9*int(b[0]) {
		return bad("%d bytes of buckets", len(b))
	}
	last := -1
	for b = b[1:]; len(b) > 0; b = b[9:] {
		i := int(b[0])
		w, s := math.Float32frombits(binary.LittleEndian.Uint32(b[1:])), math.Float32frombits(binary.LittleEndian.Uint32(b[5:]))
		if i <= last || i >= Buckets {
			return bad("bucket %d after %d", i, last)
		}
		if !(w >= 1e-6 && w <= 1e6) {
			return bad("bucket %d weighs %v", i, w)
		}
		low, high := ends(i)
		if mean := float64(s) / float64(w); !(mean >= low*0.99 && mean <= min(high*1.01, 25*3600)) {
			return bad("bucket %d has a mean of %v s", i, mean)
		}
		last, q.weight[i], q.sum[i] = i, w, s
	}
	if (q.calls == 0) != (last < 0) {
		return bad("%d calls in no buckets, or buckets of no calls", q.calls)
	}
	*p = q
	return nil
}
