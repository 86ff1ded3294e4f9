/* The constructor that turns a started host into a confined one, and what it
 * leaves behind for Go to read. The layout of enter_config is also written in
 * Go, in internal/sandbox/spawn_config.go; a test compares the two. */
#ifndef WEFT_ENTER_H
#define WEFT_ENTER_H

#include <stdint.h>

#define ENTER_MAGIC 0x77656674u /* "weft" */
#define ENTER_EXIT 96           /* exit status when a required step failed */
#define ENTER_STEPS 24

enum { /* enter_config.flags */
	ENTER_SETID = 1 << 0,    /* started by root: change to uid and gid */
	ENTER_USERNS = 1 << 1,   /* make a user namespace after the change */
	ENTER_MOUNT = 1 << 2,    /* in a mount namespace: build an empty root */
	ENTER_UTS = 1 << 3,      /* in a UTS namespace: set the host name */
	ENTER_LANDLOCK = 1 << 4, /* Landlock is the only wall around files: required */
	ENTER_CAPS = 1 << 5,     /* started with capabilities: dropping them all is required */
};

struct enter_config {
	uint32_t magic;
	uint32_t size; /* of this struct: both sides are of one build */
	uint32_t flags;
	uint32_t uid, gid;
	uint32_t grants;    /* descriptors 4 and up that are granted folders */
	uint32_t groups;    /* descriptors after those that are entrances of cgroups */
	uint32_t unused;
	uint64_t cpu;       /* seconds; 0 in any of these: no limit */
	uint64_t files;     /* open descriptors */
	uint64_t file_size; /* bytes */
	uint64_t space;     /* bytes of address space */
	uint64_t nproc;     /* threads of the user namespace */
	uint64_t writable;  /* bit i: grant i may be written; not a limit */
};

enum { STEP_DONE = 1, STEP_SKIPPED = 2, STEP_FAILED = 3 };

struct enter_step {
	const char *name;
	int state;
	int err;
	int value;
};

/* The result. It is written before main starts and only read afterwards. */
struct enter_result {
	int host;
	char role[16];
	int pagemap;
	int grants;
	int steps;
	struct enter_step step[ENTER_STEPS];
};

extern struct enter_result weft_enter_result;

/* enter_landlock restricts the calling thread. It returns the ABI that was
 * used, 0 when the kernel has nothing to offer for the mode, or -errno.
 * nothing: deny the whole file system but the folders in the descriptors
 * first .. first+count-1, of which those in writable may be changed. Otherwise:
 * leave files alone. */
int enter_landlock(int nothing, int first, int count, uint64_t writable);

/* enter_grant serves the role "grant" and does not return. */
void enter_grant(int argc, char **argv);

#endif
