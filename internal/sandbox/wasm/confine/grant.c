// The role "grant": an ordinary user may not clone a mount, but may in a user
// namespace of its own. The node starts this program in one; it answers on
// descriptor 3 with the descriptor of a detached mount of the folder that is
// its argument, and ends. It runs no Go and sees nothing of a user.
//
// References: open_tree(2), mount_setattr(2), unix(7) SCM_RIGHTS.

#define _GNU_SOURCE
#include "enter.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	CLONE_TREE = 1,    // OPEN_TREE_CLONE
	NO_MAGICLINKS = 2, // RESOLVE_*
	NO_SYMLINKS = 4,
	ATTR_RDONLY = 0x1,
	ATTR_NOSUID = 0x2,
	ATTR_NODEV = 0x4,
	ATTR_NOEXEC = 0x8,
};

struct attr { // struct mount_attr
	uint64_t set, clear, propagation, userns;
};

struct how { // struct open_how
	uint64_t flags, mode, resolve;
};

// answer sends the descriptor, or the error number when fd is negative.
static void answer(int fd, int err)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec body = {&err, sizeof err};
	struct msghdr msg = {.msg_iov = &body, .msg_iovlen = 1};

	if (fd >= 0) {
		memset(&control, 0, sizeof control);
		msg.msg_control = &control;
		msg.msg_controllen = sizeof control;
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
	}
	_exit(sendmsg(3, &msg, MSG_NOSIGNAL) < 0 ? ENTER_EXIT : 0);
}

void enter_grant(int argc, char **argv)
{
	struct attr attr = {.set = ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC};
	struct how how = {.flags = O_PATH | O_CLOEXEC, .resolve = NO_MAGICLINKS | NO_SYMLINKS};
	int dir, fd;

	if (argc != 4)
		answer(-1, EPROTO);
	if (strcmp(argv[2], "ro") == 0)
		attr.set |= ATTR_RDONLY;
	dir = (int)syscall(SYS_openat2, AT_FDCWD, argv[3], &how, sizeof how);
	if (dir < 0)
		answer(-1, errno);
	fd = (int)syscall(SYS_open_tree, dir, "", CLONE_TREE | O_CLOEXEC | AT_EMPTY_PATH);
	if (fd < 0)
		answer(-1, errno);
	if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof attr))
		answer(-1, errno);
	answer(fd, 0);
}
