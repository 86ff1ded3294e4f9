// The network of a version whose calls may connect to something: a namespace
// with nothing in it but the loopback interface, on which the node answers at
// the addresses that stand for what is granted. The sockets that it answers at
// are made here, because a socket belongs to the namespace that it is made in.
// References: network_namespaces(7), rtnetlink(7), netdevice(7).

#define _GNU_SOURCE
#include "warden.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 128 };

struct address {
	int family;
	unsigned char bytes[16];
	size_t n;
};

static void parse(const char *text, struct address *a)
{
	a->family = strchr(text, ':') ? AF_INET6 : AF_INET;
	a->n = a->family == AF_INET ? 4 : 16;
	errno = EPROTO;
	if (inet_pton(a->family, text, a->bytes) != 1)
		die("network", text);
}

static void raise_loopback(int sock)
{
	struct ifreq r = {.ifr_name = "lo"};

	if (ioctl(sock, SIOCGIFFLAGS, &r))
		die("network", "look at the loopback interface");
	r.ifr_flags |= IFF_UP;
	if (ioctl(sock, SIOCSIFFLAGS, &r))
		die("network", "raise the loopback interface");
}

// add_address gives the loopback interface an address that is not of loopback.
static void add_address(const struct address *a, const char *text)
{
	struct {
		struct nlmsghdr head;
		struct ifaddrmsg about;
		struct rtattr attribute;
		unsigned char bytes[16];
	} request = {0};
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char room[256];
	} answer;
	int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	request.head.nlmsg_type = RTM_NEWADDR;
	request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
	request.about.ifa_family = (unsigned char)a->family;
	request.about.ifa_prefixlen = (unsigned char)(a->n * 8);
	request.about.ifa_flags = IFA_F_NODAD; // usable at once
	request.about.ifa_index = if_nametoindex("lo");
	request.attribute.rta_type = IFA_LOCAL;
	request.attribute.rta_len = (unsigned short)RTA_LENGTH(a->n);
	memcpy(request.bytes, a->bytes, a->n);
	request.head.nlmsg_len = (uint32_t)(NLMSG_LENGTH(sizeof request.about) + RTA_LENGTH(a->n));
	if (sock < 0 || send(sock, &request, request.head.nlmsg_len, 0) < 0 || recv(sock, &answer, sizeof answer, 0) < 0)
		die("network", text);
	errno = -answer.error.error;
	if (answer.head.nlmsg_type != NLMSG_ERROR || errno)
		die("network", text);
	close(sock);
}

// open_doors makes the sockets and gives them to the node.
void open_doors(const struct plan *p)
{
	for (int i = 0; i < p->doors; i++) {
		struct message m = {.kind = MSG_DOOR, .a = (uint32_t)i};
		struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)p->port[i])};
		struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)p->port[i])};
		struct address a;
		int sock, one = 1, is_four;

		parse(p->door[i], &a);
		is_four = a.family == AF_INET;
		memcpy(is_four ? (void *)&four.sin_addr : (void *)&six.sin6_addr, a.bytes, a.n);
		sock = socket(a.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (sock < 0)
			die("network", p->door[i]);
		if (i == 0)
			raise_loopback(sock);
		if (!(is_four ? a.bytes[0] == 127 : IN6_IS_ADDR_LOOPBACK(&six.sin6_addr)))
			add_address(&a, p->door[i]);
		if (setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ||
		    (!is_four && setsockopt(sock, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one)) ||
		    bind(sock, is_four ? (void *)&four : (void *)&six, is_four ? sizeof four : sizeof six) || listen(sock, BACKLOG))
			die("network", p->door[i]);
		if (send_message(3, &m, NULL, 0, &sock, 1, 0))
			_exit(0); // the node has gone
		close(sock);
	}
}
