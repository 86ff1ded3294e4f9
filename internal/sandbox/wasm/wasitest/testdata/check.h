// What every test program uses: a condition that does not hold, or a call that
// fails otherwise than it should, ends the program with the place it happened.
#pragma once
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <wasi/api.h>

#define CHECK(condition)                                                                          \
	do {                                                                                      \
		if (!(condition)) {                                                               \
			fprintf(stderr, "%s:%d: %s does not hold (errno %d, %s)\n", __FILE__, __LINE__, \
			        #condition, errno, strerror(errno));                              \
			exit(1);                                                                  \
		}                                                                                 \
	} while (0)

// FAILS wants a call that returns -1 and sets errno.
#define FAILS(call, error)                                                                        \
	do {                                                                                      \
		errno = 0;                                                                        \
		long result_ = (long)(call);                                                      \
		if (result_ != -1 || errno != (error)) {                                          \
			fprintf(stderr, "%s:%d: %s = %ld, errno %d (%s), want %s\n", __FILE__, __LINE__, \
			        #call, result_, errno, strerror(errno), #error);                  \
			exit(1);                                                                  \
		}                                                                                 \
	} while (0)

// WASI wants a raw call that returns the error number.
#define WASI(call, error)                                                                         \
	do {                                                                                      \
		int result_ = (call);                                                             \
		if (result_ != (error)) {                                                         \
			fprintf(stderr, "%s:%d: %s = %d, want %s\n", __FILE__, __LINE__, #call, result_, #error); \
			exit(1);                                                                  \
		}                                                                                 \
	} while (0)

// put makes a file that holds text.
static inline void put(const char *path, const char *text) {
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
	CHECK(fd >= 0);
	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	CHECK(close(fd) == 0);
}

// holds compares a file with text.
static inline void holds(const char *path, const char *text) {
	static char buf[4096];
	int fd = open(path, O_RDONLY);
	CHECK(fd >= 0);
	ssize_t n = read(fd, buf, sizeof buf - 1);
	CHECK(n >= 0);
	buf[n] = 0;
	if (strcmp(buf, text) != 0) {
		fprintf(stderr, "%s holds \"%s\", want \"%s\"\n", path, buf, text);
		exit(1);
	}
	CHECK(close(fd) == 0);
}

// scratch opens the first pre-opened directory for the raw calls.
static inline __wasi_fd_t scratch(void) { return 3; }
