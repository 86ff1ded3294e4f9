package sandbox

import (
	"encoding/binary"
	"time"
)

// The configuration that a host reads from descriptor 0 before it does anything
// else: struct enter_config of wasm/confine/enter.h. Both sides are of one
// build, so there is no version; the size is checked.
const (
	enterMagic = 0x77656674
	enterSize  = 80

	enterSetID    = 1 << 0
	enterUserNS   = 1 << 1
	enterMount    = 1 << 2
	enterUTS      = 1 << 3
	enterLandlock = 1 << 4
	enterCaps     = 1 << 5

	enterExit = 96 // exit status of a host that could not confine itself
)

// defaultFiles is the number of open descriptors of a host whose Limits say none.
const defaultFiles = 1024

// enterConfig encodes the configuration of one host.
func enterConfig(iso Isolation, root bool, grants []*Grant, groups int, l Limits) []byte {
	var flags uint32
	set := func(on bool, flag uint32) {
		if on {
			flags |= flag
		}
	}
	set(root, enterSetID)
	set(root && iso.User, enterUserNS)
	set(iso.Mount, enterMount)
	set(iso.UTS, enterUTS)
	set(!iso.Mount, enterLandlock)
	set(root || iso.User, enterCaps)

	files := l.Files
	if files == 0 {
		files = defaultFiles
	}
	threads := 0
	if iso.User { // elsewhere the user's other processes would count
		threads = l.Pids
	}
	var writable int64
	for i, g := range grants {
		if !g.ReadOnly {
			writable |= 1 << i
		}
	}
	b := make([]byte, 0, enterSize)
	for _, v := range []uint32{enterMagic, enterSize, flags, uint32(iso.UID), uint32(iso.GID), uint32(len(grants)), uint32(groups), 0} {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	for _, v := range []int64{int64(seconds(l.CPU)), int64(files), l.FileSize, l.Space, int64(threads), writable} {
		b = binary.NativeEndian.AppendUint64(b, uint64(v))
	}
	return b
}

// seconds rounds up, so that no limit becomes none.
func seconds(d time.Duration) int {
	return int((d + time.Second - 1) / time.Second)
}
