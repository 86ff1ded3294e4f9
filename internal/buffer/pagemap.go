package buffer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Dirtied counts the bytes of the view at addr that its reader has written to: pages that are private, not the
// segment's. Zero means that the view still shows the segment and can be published again by reference. Pagemap is a
// descriptor of /proc/self/pagemap, opened by this process; no privilege is needed, because only flags are read, no
// frame numbers.
func Dirtied(pagemap int, addr uintptr, length int64) (int64, error) {
	if err := checkRange("count private pages", addr, length); err != nil {
		return 0, err
	}
	n, err := scanPagemap(pagemap, addr, length)
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
		n, err = readPagemap(pagemap, addr, length)
	}
	if err != nil {
		return 0, fmt.Errorf("count private pages of window %#x: %w", addr, err)
	}
	return n, nil
}

// What follows is PAGEMAP_SCAN of Linux 6.7: Documentation/admin-guide/mm/pagemap.rst and
// include/uapi/linux/fs.h, struct pm_scan_arg and struct page_region.

const (
	pageIsFile    = 1 << 2
	pageIsPresent = 1 << 3
	pageIsSwapped = 1 << 4

	pagemapScan = 3<<30 | unsafe.Sizeof(scanArg{})<<16 | 'f'<<8 | 16 // _IOWR('f', 16, struct pm_scan_arg)
)

type scanArg struct {
	size           uint64
	flags          uint64
	start, end     uint64
	walkEnd        uint64
	vec            uint64
	vecLen         uint64
	maxPages       uint64
	inverted       uint64
	mask           uint64
	anyOf          uint64
	returnCategory uint64
}

type pageRegion struct{ start, end, _ uint64 } // the last: the categories of its pages

// scanPagemap counts pages that are present or swapped out and not of the file.
func scanPagemap(fd int, addr uintptr, length int64) (int64, error) {
	// The kernel is given the address of regions inside a struct, so they must not move.
	regions := new([256]pageRegion)
	var pin runtime.Pinner
	pin.Pin(regions)
	defer pin.Unpin()
	arg := scanArg{
		size:           uint64(unsafe.Sizeof(scanArg{})),
		start:          uint64(addr),
		end:            uint64(addr) + uint64(length),
		vec:            uint64(uintptr(unsafe.Pointer(regions))),
		vecLen:         uint64(len(regions)),
		inverted:       pageIsFile,
		mask:           pageIsFile,
		anyOf:          pageIsPresent | pageIsSwapped,
		returnCategory: pageIsPresent | pageIsSwapped,
	}
	var total int64
	for arg.start < arg.end {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), pagemapScan, uintptr(unsafe.Pointer(&arg)))
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return 0, errno
		}
		for _, r := range regions[:n] {
			total += int64(r.end - r.start)
		}
		if arg.walkEnd <= arg.start {
			break
		}
		arg.start = arg.walkEnd
	}
	return total, nil
}

// readPagemap does the same by the 64-bit entries: bit 63 present, 62 swapped, 61 page of a file or shared memory.
func readPagemap(fd int, addr uintptr, length int64) (int64, error) {
	const (
		present = 1 << 63
		swapped = 1 << 62
		file    = 1 << 61
	)
	page := int64(os.Getpagesize())
	buf := make([]byte, 8*min(length/page, 8192))
	var total int64
	for done := int64(0); done < length/page; {
		want := min(int64(len(buf)), 8*(length/page-done))
		n, err := unix.Pread(fd, buf[:want], 8*(int64(addr)/page+done))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if n < 8 {
			return 0, errors.New("pagemap ends before the window")
		}
		for i := 0; i+8 <= n; i += 8 {
			e := binary.NativeEndian.Uint64(buf[i:])
			if e&(present|swapped) != 0 && e&file == 0 {
				total += page
			}
		}
		done += int64(n / 8)
	}
	return total, nil
}
