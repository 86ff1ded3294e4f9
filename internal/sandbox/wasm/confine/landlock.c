// Landlock, by system calls: it must be on before the Go runtime starts, or it
// would bind the calling thread alone. The constants are those of
// include/uapi/linux/landlock.h up to ABI 7, repeated because the headers of
// the build machine may be older than the kernel it runs on.

#define _GNU_SOURCE
#include "enter.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

struct ruleset_attr {
	uint64_t fs;
	uint64_t net;
	uint64_t scoped;
};

struct path_beneath {
	uint64_t allowed;
	int32_t parent;
} __attribute__((packed));

enum {
	VERSION = 1,                 // LANDLOCK_CREATE_RULESET_VERSION
	RULE_PATH_BENEATH = 1,       // LANDLOCK_RULE_PATH_BENEATH
	NET_BIND_CONNECT = 3,        // ABI 4
	SCOPE_SOCKET_AND_SIGNAL = 3, // ABI 6
	FS_EXECUTE = 1 << 0,
	FS_READ_FILE = 1 << 2,
	FS_READ_DIR = 1 << 3,
	FS_MAKE_CHAR = 1 << 6,
	FS_MAKE_SOCK = 1 << 9,
	FS_MAKE_FIFO = 1 << 10,
	FS_MAKE_BLOCK = 1 << 11,
	FS_IOCTL_DEV = 1 << 15,
};

static uint64_t fs_rights(int abi)
{
	if (abi >= 5)
		return (1 << 16) - 1; // IOCTL_DEV
	if (abi >= 3)
		return (1 << 15) - 1; // TRUNCATE
	if (abi >= 2)
		return (1 << 14) - 1; // REFER
	return (1 << 13) - 1;
}

int enter_landlock(int nothing, int first, int count, uint64_t writable)
{
	struct ruleset_attr attr = {0};
	int abi, set;
	size_t size;

	abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, VERSION);
	if (abi < 0)
		return -errno;
	size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
	// Any ruleset that handles files at all denies renaming from one folder
	// into another (LANDLOCK_ACCESS_FS_REFER), even inside a folder that comes
	// later, and no rule can be added for that. So files are left alone where
	// the empty root already hides them.
	attr.fs = nothing ? fs_rights(abi) : 0;
	attr.net = abi >= 4 ? NET_BIND_CONNECT : 0;
	attr.scoped = abi >= 6 ? SCOPE_SOCKET_AND_SIGNAL : 0;
	if (!attr.fs && !attr.net && !attr.scoped)
		return 0;
	set = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	if (set < 0)
		return -errno;
	for (int i = 0; attr.fs && i < count; i++) {
		struct path_beneath rule = {
			.allowed = attr.fs & ~(uint64_t)(FS_EXECUTE | FS_MAKE_CHAR | FS_MAKE_SOCK |
							  FS_MAKE_FIFO | FS_MAKE_BLOCK | FS_IOCTL_DEV),
			.parent = first + i,
		};
		if (!(writable >> i & 1))
			rule.allowed &= FS_READ_FILE | FS_READ_DIR;
		if (syscall(SYS_landlock_add_rule, set, RULE_PATH_BENEATH, &rule, 0))
			return -errno;
	}
	if (syscall(SYS_landlock_restrict_self, set, 0))
		return -errno;
	close(set);
	return abi;
}
