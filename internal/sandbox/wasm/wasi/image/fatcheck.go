package image

import (
	"encoding/binary"
	"fmt"
)

// The library trusts an image: it divides by what the boot sector says, and
// follows a chain of clusters for as long as it goes on. So the boot sector and
// the table are checked before it sees them.
//
// Layout of the boot sector, by offset (Microsoft, FAT: General Overview of
// On-Disk Format): bytes per sector u16 at 11, sectors per cluster u8 at 13,
// reserved sectors u16 at 14, number of tables u8 at 16, root entries u16 at 17,
// sectors u16 at 19 or u32 at 32, sectors per table u16 at 22 or u32 at 36,
// cluster of the root u32 at 44, signature 55 AA at 510.

// checkFAT returns how many bits wide the entries of the table are: 12, 16 or
// 32, which the number of clusters decides.
func checkFAT(src *source) (int, error) {
	var b [512]byte
	if _, err := src.ReadAt(b[:], 0); err != nil {
		return 0, fmt.Errorf("read boot sector: %w", err)
	}
	if b[510] != 0x55 || b[511] != 0xAA {
		return 0, fmt.Errorf("%w: no boot sector signature", ErrCorrupt)
	}
	u16 := func(i int) int64 { return int64(binary.LittleEndian.Uint16(b[i:])) }
	u32 := func(i int) int64 { return int64(binary.LittleEndian.Uint32(b[i:])) }
	sector, perCluster, reserved, tables := u16(11), int64(b[13]), u16(14), int64(b[16])
	if sector != 512 {
		return 0, fmt.Errorf("sectors of %d bytes are not supported, only 512", sector)
	}
	if perCluster == 0 || perCluster&(perCluster-1) != 0 || reserved == 0 {
		return 0, fmt.Errorf("%w: %d sectors a cluster, %d reserved", ErrCorrupt, perCluster, reserved)
	}
	if tables != 2 {
		return 0, fmt.Errorf("images with %d tables are not supported, only 2", tables)
	}
	rootEntries, sectors, tableSectors := u16(17), u16(19), u16(22)
	if sectors == 0 {
		sectors = u32(32)
	}
	wide := tableSectors == 0
	if wide {
		tableSectors = u32(36)
	}
	data := reserved + tables*tableSectors + (rootEntries*32+sector-1)/sector
	if tableSectors == 0 || sectors <= data || sectors*sector > src.size {
		return 0, fmt.Errorf("%w: %d sectors, %d of them before the data, in %d bytes", ErrCorrupt, sectors, data, src.size)
	}
	clusters := (sectors - data) / perCluster
	width := 32
	switch {
	case clusters < 4085:
		width = 12
	case clusters < 65525:
		width = 16
	}
	if wide != (width == 32) {
		return 0, fmt.Errorf("%w: %d clusters, but the layout of another width", ErrCorrupt, clusters)
	}
	if wide && u32(44) != 2 {
		return 0, fmt.Errorf("a root directory in cluster %d is not supported, only in 2", u32(44))
	}
	if need := (clusters+2)*int64(width)/8 + 1; need > tableSectors*sector {
		return 0, fmt.Errorf("%w: table of %d sectors for %d clusters", ErrCorrupt, tableSectors, clusters)
	}
	table := make([]byte, tableSectors*sector)
	if _, err := src.ReadAt(table, reserved*sector); err != nil {
		return 0, fmt.Errorf("read table: %w", err)
	}
	return width, checkChains(table, width, uint32(clusters)+2)
}

// checkChains makes sure that no chain of clusters meets itself or another:
// that each cluster has at most one before it, and that each is reached from
// one that has none.
func checkChains(table []byte, width int, clusters uint32) error {
	entry := func(i uint32) uint32 {
		switch width {
		case 12:
			v := uint32(binary.LittleEndian.Uint16(table[i*3/2:]))
			if i%2 == 1 {
				return v >> 4
			}
			return v & 0xFFF
		case 16:
			return uint32(binary.LittleEndian.Uint16(table[i*2:]))
		}
		return binary.LittleEndian.Uint32(table[i*4:]) & 0x0FFFFFFF
	}
	next := make([]uint32, clusters)
	before := make([]bool, clusters)
	for i := uint32(2); i < clusters; i++ {
		n := entry(i)
		if n < 2 || n >= clusters {
			continue // free, bad, or the last of its chain
		}
		if before[n] {
			return fmt.Errorf("%w: two chains meet in cluster %d", ErrCorrupt, n)
		}
		before[n], next[i] = true, n
	}
	for i := uint32(2); i < clusters; i++ {
		for at := i; !before[i] && next[at] != 0; {
			n := next[at]
			next[at] = 0
			at = n
		}
	}
	for i := uint32(2); i < clusters; i++ {
		if next[i] != 0 {
			return fmt.Errorf("%w: the chain of cluster %d is a loop", ErrCorrupt, i)
		}
	}
	return nil
}
