package weft

// Ref is how a buffer appears in JSON: in an input that refers to what another step published, and in an output that
// wants to hand a buffer on. Its size is known without reading it.
type Ref struct {
	Slot string `json:"$buffer"`        // full name, such as "map[2]/words"
	Size int64  `json:"size"`           // bytes
	Type string `json:"type,omitempty"` // fingerprint as 16 hexadecimal digits, empty for untyped bytes
}

// RefTo returns the reference to a published slot, so that it can be part of an output.
func RefTo(slot string) (Ref, error) {
	size, typ, e := hostLen(slot)
	if e != 0 {
		return Ref{}, failure("look up", slot, e)
	}
	r := Ref{Slot: Qualify(slot), Size: int64(size)}
	if typ != 0 {
		r.Type = hex(typ)
	}
	return r, nil
}

// Take consumes the buffer.
func (r Ref) Take() (*View, error) { return Take(r.Slot) }

// Borrow reads the buffer and leaves it for others.
func (r Ref) Borrow() (*View, error) { return Borrow(r.Slot) }

// Qualify is the full name under which others find a slot that this step publishes: "table" is "build/table" in step
// build, and "build[3]/table" in item 3 of a foreach. A name with a slash is returned as it is.
func Qualify(slot string) string {
	for _, c := range slot {
		if c == '/' {
			return slot
		}
	}
	step := hostEnv("WEFT_STEP")
	if step == "" {
		return slot
	}
	if index := hostEnv("WEFT_INDEX"); index != "" {
		step += "[" + index + "]"
	}
	return step + "/" + slot
}

// hex is v as 16 hexadecimal digits.
func hex(v uint64) string {
	var b [16]byte
	for i := range b {
		b[i] = "0123456789abcdef"[v>>(60-4*i)&15]
	}
	return string(b[:])
}
