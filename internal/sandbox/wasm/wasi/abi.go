package wasi

import "encoding/binary"

// Rights say what may be done with a descriptor; the bits are those of WASI.
type Rights uint64

// The rights of WASI preview 1, in their order.
const (
	RightFdDatasync Rights = 1 << iota
	RightFdRead
	RightFdSeek
	RightFdstatSetFlags
	RightFdSync
	RightFdTell
	RightFdWrite
	RightFdAdvise
	RightFdAllocate
	RightPathCreateDirectory
	RightPathCreateFile
	RightPathLinkSource
	RightPathLinkTarget
	RightPathOpen
	RightFdReaddir
	RightPathReadlink
	RightPathRenameSource
	RightPathRenameTarget
	RightPathFilestatGet
	RightPathFilestatSetSize
	RightPathFilestatSetTimes
	RightFdFilestatGet
	RightFdFilestatSetSize
	RightFdFilestatSetTimes
	RightPathSymlink
	RightPathRemoveDirectory
	RightPathUnlinkFile
	RightPollFdReadwrite
	RightSockShutdown
	RightSockAccept

	rightsAll Rights = 1<<30 - 1
)

// What can be done with a descriptor of each type. A new descriptor gets the
// rights that were asked for, less those that do not apply to its type.
const (
	rightsFile = RightFdDatasync | RightFdRead | RightFdSeek | RightFdstatSetFlags | RightFdSync | RightFdTell | RightFdWrite |
		RightFdAdvise | RightFdAllocate | RightFdFilestatGet | RightFdFilestatSetSize | RightFdFilestatSetTimes | RightPollFdReadwrite
	rightsDir = RightFdstatSetFlags | RightFdSync | RightFdDatasync | RightPathCreateDirectory | RightPathCreateFile | RightPathLinkSource |
		RightPathLinkTarget | RightPathOpen | RightFdReaddir | RightPathReadlink | RightPathRenameSource | RightPathRenameTarget |
		RightPathFilestatGet | RightPathFilestatSetSize | RightPathFilestatSetTimes | RightFdFilestatGet | RightFdFilestatSetTimes |
		RightPathSymlink | RightPathRemoveDirectory | RightPathUnlinkFile
	rightsStream = RightFdRead | RightFdWrite | RightFdstatSetFlags | RightFdFilestatGet | RightPollFdReadwrite
	rightsSocket = rightsStream | RightSockShutdown | RightSockAccept
)

// Filetype is the type of a file as WASI numbers it.
type Filetype uint8

// The file types of WASI preview 1.
const (
	TypeUnknown Filetype = iota
	TypeBlockDevice
	TypeCharacterDevice
	TypeDirectory
	TypeRegular
	TypeSocketDgram
	TypeSocketStream
	TypeSymlink
)

// Flags and small numbers of the interface, as the specification has them.
const (
	fdAppend   = 1 << 0
	fdDsync    = 1 << 1
	fdNonblock = 1 << 2
	fdRsync    = 1 << 3
	fdSync     = 1 << 4
	fdFlags    = 1<<5 - 1

	openCreate    = 1 << 0
	openDirectory = 1 << 1
	openExclusive = 1 << 2
	openTruncate  = 1 << 3
	openFlags     = 1<<4 - 1

	followSymlink = 1 << 0

	setAtime    = 1 << 0
	setAtimeNow = 1 << 1
	setMtime    = 1 << 2
	setMtimeNow = 1 << 3
	setTimes    = 1<<4 - 1

	whenceSet = 0
	whenceCur = 1
	whenceEnd = 2
)

// Filestat is what fd_filestat_get and path_filestat_get report. Times are
// nanoseconds since 1970.
type Filestat struct {
	Device, Inode       uint64
	Type                Filetype
	Links               uint64
	Size                uint64
	Atime, Mtime, Ctime uint64
}

const (
	filestatSize     = 64
	fdstatSize       = 24
	prestatSize      = 8
	direntSize       = 24
	iovecSize        = 8
	subscriptionSize = 48
	eventSize        = 32

	// maxIovecs bounds one call, as the kernel's IOV_MAX does: a call with more
	// moves the bytes of the first ones and reports how many.
	maxIovecs = 1024
	// maxPath is the longest path, as the kernel's PATH_MAX.
	maxPath = 4095
)

var le = binary.LittleEndian

// span returns the n bytes of memory at ptr, or false when any lies outside.
func span(mem []byte, ptr, n uint32) ([]byte, bool) {
	end := uint64(ptr) + uint64(n)
	if end > uint64(len(mem)) {
		return nil, false
	}
	return mem[ptr:end:end], true
}

// putU32 stores v at ptr.
func putU32(mem []byte, ptr, v uint32) Errno {
	b, ok := span(mem, ptr, 4)
	if !ok {
		return Efault
	}
	le.PutUint32(b, v)
	return Success
}

// putU64 stores v at ptr.
func putU64(mem []byte, ptr uint32, v uint64) Errno {
	b, ok := span(mem, ptr, 8)
	if !ok {
		return Efault
	}
	le.PutUint64(b, v)
	return Success
}

// putFilestat stores st at ptr.
func putFilestat(mem []byte, ptr uint32, st *Filestat) Errno {
	b, ok := span(mem, ptr, filestatSize)
	if !ok {
		return Efault
	}
	le.PutUint64(b, st.Device)
	le.PutUint64(b[8:], st.Inode)
	le.PutUint64(b[16:], uint64(st.Type))
	le.PutUint64(b[24:], st.Links)
	le.PutUint64(b[32:], st.Size)
	le.PutUint64(b[40:], st.Atime)
	le.PutUint64(b[48:], st.Mtime)
	le.PutUint64(b[56:], st.Ctime)
	return Success
}

// pathAt returns the path of n bytes at ptr. A path is bytes, as on the host:
// any but NUL.
func pathAt(mem []byte, ptr, n uint32) (string, Errno) {
	b, ok := span(mem, ptr, n)
	if !ok {
		return "", Efault
	}
	if n > maxPath {
		return "", Enametoolong
	}
	for _, c := range b {
		if c == 0 {
			return "", Einval
		}
	}
	return string(b), Success
}

// iovecs gathers the buffers that the n entries at ptr describe into the
// system's scratch space; release it with s.drop.
func (s *System) iovecs(mem []byte, ptr, n uint32) ([][]byte, Errno) {
	if uint64(ptr)+uint64(n)*iovecSize > uint64(len(mem)) {
		return nil, Efault
	}
	n = min(n, maxIovecs)
	table := mem[ptr : uint64(ptr)+uint64(n)*iovecSize]
	bufs := s.bufs[:0]
	for len(table) > 0 {
		b, ok := span(mem, le.Uint32(table), le.Uint32(table[4:]))
		if !ok {
			clear(bufs)
			return nil, Efault
		}
		if len(b) > 0 {
			bufs = append(bufs, b)
		}
		table = table[iovecSize:]
	}
	s.bufs = bufs
	return bufs, Success
}

// drop forgets the buffers of the last iovecs: guest memory may be unmapped
// before the next call, so no reference to it stays.
func (s *System) drop() {
	clear(s.bufs)
	s.bufs = s.bufs[:0]
}
