// Messages on sequenced-packet sockets, with descriptors beside them (unix(7)).

#define _GNU_SOURCE
#include "warden.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

union control {
	struct cmsghdr head;
	char room[CMSG_SPACE(sizeof(int) * WARDEN_FILES)];
};

int send_message(int sock, const struct message *m, const void *text, size_t n, const int *fds, int nfds, int flags)
{
	union control control;
	struct iovec body[2] = {{(void *)m, sizeof *m}, {(void *)text, n}};
	struct msghdr msg = {.msg_iov = body, .msg_iovlen = n ? 2 : 1};
	ssize_t sent;

	if (nfds) {
		memset(&control, 0, sizeof control);
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(&control.head), fds, sizeof(int) * nfds);
	}
	do
		sent = sendmsg(sock, &msg, MSG_NOSIGNAL | flags);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -1 : 0;
}

// receive_message returns the length of the text, -1 with an error, and -2 at
// the end. text holds WARDEN_TEXT + 1 bytes, and fds WARDEN_FILES. What is too
// long is cut off, and a packet too short for a message is EPROTO.
ssize_t receive_message(int sock, struct message *m, char *text, int *fds, int *nfds, int flags)
{
	union control control;
	struct iovec body[2] = {{m, sizeof *m}, {text, WARDEN_TEXT}};
	struct msghdr msg = {.msg_iov = body, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t n;

	*nfds = 0;
	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | flags);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		int count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		for (int i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
			if (*nfds < WARDEN_FILES)
				fds[(*nfds)++] = fd;
			else
				close(fd);
		}
	}
	if (n == 0)
		return -2;
	if (n < (ssize_t)sizeof *m) {
		for (int i = 0; i < *nfds; i++)
			close(fds[i]);
		*nfds = 0;
		errno = EPROTO;
		return -1;
	}
	text[n - sizeof *m] = 0;
	return n - (ssize_t)sizeof *m;
}
