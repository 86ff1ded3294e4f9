/* The warden: the C side of process sandboxes. The layouts here are also
 * written in Go, in internal/sandbox/process/wire.go; a test compares them. */
#ifndef WEFT_WARDEN_H
#define WEFT_WARDEN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WARDEN_MAGIC 0x64726177u /* "ward" */
#define WARDEN_EXIT 97           /* exit status of a warden that could not set itself up */
#define WARDEN_CALLS 256         /* calls of one warden at a time */
#define WARDEN_TEXT (64 << 10)   /* longest text of a message, in bytes */
#define WARDEN_DOORS 64          /* ports that the node answers at in a version's network */
#define WARDEN_FILES 16          /* descriptors beside a message */

enum { /* warden_config.flags */
	WARDEN_SETID = 1 << 0, /* started by root: change to uid and gid */
	WARDEN_PYTHON = 1 << 1, /* calls are forked by a server, the program of the ARG records, and not executed */
	WARDEN_NET = 1 << 2,   /* each call has a network namespace of its own, not only each warden */
	WARDEN_PARENT = 1 << 3, /* its server forks servers of other wardens, and no calls */
	WARDEN_ADOPT = 1 << 4, /* its server comes from a parent, or is started by it if none comes */
};

struct warden_config { /* descriptor 0 is a memory file that begins with this */
	uint32_t magic;
	uint32_t size;  /* of the whole file */
	uint32_t flags;
	uint32_t uid, gid;
	uint32_t records; /* behind this */
	uint64_t cpu;     /* seconds of one process; 0 in any of these: no limit */
	uint64_t files;   /* open descriptors */
	uint64_t file_size; /* bytes */
	uint64_t data;    /* bytes of private memory */
	uint64_t space;   /* bytes of address space */
	uint64_t nproc;   /* threads of all calls together */
	uint64_t tmp;     /* bytes of /tmp */
};

/* A record is followed by n1 and n2 bytes of strings that end with NUL, and
 * bytes up to a multiple of 8. */
struct record {
	uint32_t kind, a, n1, n2;
};

enum {
	REC_DIR = 1,    /* folder s1 with mode a */
	REC_LINK = 2,   /* symbolic link s1 to s2 */
	REC_FILE = 3,   /* file s1 with mode a and content s2 */
	REC_BIND = 4,   /* host path s1 at s2; a: BIND_ flags */
	REC_MOUNT = 5,  /* detached mount of descriptor a, counted behind the entrances, at s1 */
	REC_ARG = 6,    /* argument s1 of the program; the first is also its path */
	REC_ENV = 7,    /* variable s1 of its environment */
	REC_FILTER = 8, /* system call filter s1: of the server (a is 0), of calls (1) */
	REC_EMPTY = 10, /* empty file s1, unless something is there: for a mount */
	REC_DOOR = 11,  /* an address of the loopback interface, s1, at whose port a the node answers */
	REC_JOIN = 9,   /* the user namespace above its own, that of a parent: descriptor a, counted like those of mounts */
};

enum { BIND_DEVICE = 1, BIND_OPTIONAL = 2, BIND_FILE = 4 };

/* A message; text follows. Descriptors go beside it. */
struct message {
	uint32_t kind;
	uint32_t a;
	uint64_t id;
	int64_t v[4];
};

enum {
	/* from the node */
	MSG_PREPARE = 1, /* make the process of call id; a: entrances beside it; A_INTO: one directory instead */
	MSG_START = 2,   /* run it: stdin, stdout, stderr and perhaps a control socket beside it; text: for the program */
	MSG_SIGNAL = 3,  /* a: signal; SIGKILL ends everything that belongs to the call; id 0: ends the server of a parent */
	MSG_ADOPT = 4,   /* to a parent, which passes it to its server: what MSG_ORPHAN had beside it */
	MSG_FIND = 5,    /* where is the call? */
	/* to the node */
	MSG_READY = 10,  /* calls can come; a: READY_ flags; of a parent: its user and pid namespaces beside it, text of its server's */
	MSG_FAILED = 11, /* they cannot: text */
	MSG_DOOR = 14,   /* before it is ready: the socket of door a, which listens, beside it */
	MSG_ENDED = 12,  /* nothing of call id is left; a: wait status, v: user and system time in us, resident KiB; text: what it said of its end */
	MSG_ORPHAN = 13, /* its server is to come from a parent: its namespaces (SERVER_SPACES), the server's socket and standard error, entrances */
	MSG_ALONE = 16,  /* no parent has made its server in time: it executes one */
	MSG_FOUND = 15,  /* the process of call id, once it is there, and its shell: their descriptors beside it */
	/* to and from the server */
	MSG_FORK = 20,   /* namespaces (SPACES), the shell's signal of readiness, the process's end of its socket, entrances */
	MSG_SERVING = 21,
	MSG_BROKEN = 22, /* it cannot serve: text */
	MSG_FORKED = 23, /* the process's descriptor beside it */
	MSG_EXITED = 24, /* as MSG_ENDED */
	MSG_ADOPTED = 25, /* it is in the namespaces: its descriptor beside it */
};

enum { A_INTO = 1u << 31 };
enum { READY_NO_PROC = 1, READY_NO_LANDLOCK = 2 };

/* What records say, for the rest of the warden. */
struct plan {
	const struct warden_config *c;
	char *arg[64], *env[256];
	int args, envs;
	const char *filter[2];
	uint32_t filter_size[2];
	int proc;     /* whether proc(5) can be had */
	int landlock; /* whether Landlock can be had */
	int entrances;
	int join;     /* descriptor of a user namespace, or -1 */
	const char *door[WARDEN_DOORS]; /* addresses, and their ports */
	uint32_t port[WARDEN_DOORS];
	int doors;
};

/* die ends the process: descriptor 2 gets a line that names step and error. */
void die(const char *step, const char *what) __attribute__((noreturn));

/* root.c: the file tree and the identity of the version. */
void read_plan(struct plan *p, int entrances);
void build_root(struct plan *p);
void change_ids(const struct plan *p, int proc);

/* walls.c: what a process gives up. */
enum { SERVER_CAPS = 1 };
void drop_caps(int which);
void set_limits(const struct warden_config *c, int call);
int enter_scope(const struct plan *p); /* Landlock; 0 without */
int enter_filter(const struct plan *p, int which);
void keep_fds(int first); /* closes first and all above */

/* shell.c: the namespaces of one call. */
enum { SPACES = 4 }; /* pid, which is entered by forking, then the others */
struct spaces {
	int n; /* 1: only the descriptor of the shell's process could be had */
	int fd[SPACES];
};
enum { SERVER_SPACES = 5 }; /* user, then those of SPACES */
int open_own_spaces(int *fd);
pid_t make_shell(const struct plan *p, int ready, int *pidfd, struct spaces *s);
int enter_pid_space(const struct spaces *s);
int enter_spaces(const struct plan *p, const struct spaces *s);

/* program.c: the process of a native call; the server of others. */
void run_program(const struct plan *p, const struct spaces *s, int ready, int sock, const int *entrances, int n) __attribute__((noreturn));
void run_server(const struct plan *p, int sock) __attribute__((noreturn));
int missing_interpreter(const char *path, char *name, size_t room);

/* doors.c: the network of a version that may connect to something. */
void open_doors(const struct plan *p);

/* message.c */
int send_message(int sock, const struct message *m, const void *text, size_t n, const int *fds, int nfds, int flags);
ssize_t receive_message(int sock, struct message *m, char *text, int *fds, int *nfds, int flags);

/* serve.c */
void serve(struct plan *p) __attribute__((noreturn));
pid_t clone_process(uint64_t flags, int *pidfd, int cgroup);

#endif
