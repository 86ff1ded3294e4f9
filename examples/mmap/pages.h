/*
 * pages.h: a file as memory, page by page: a page is read when it is first touched. WASI has no mmap; this is what it
 * comes to, over pread, and only the touched pages are ever read.
 */
#ifndef PAGES_H
#define PAGES_H

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096 };

typedef struct {
	int fd, failed; /* failed: errno of a page that could not be read */
	size_t size, faults;
	unsigned char *memory, *present;
} pages;

/* pages_open returns 0, or -1 with errno. */
static inline int pages_open(pages *m, const char *path) {
	struct stat info;
	m->fd = open(path, O_RDONLY);
	if (m->fd < 0 || fstat(m->fd, &info)) return -1;
	m->size = (size_t)info.st_size;
	m->faults = 0;
	m->failed = 0;
	m->memory = (unsigned char *)malloc(m->size + PAGE);
	m->present = (unsigned char *)calloc(m->size / PAGE + 1, 1);
	return m->memory && m->present ? 0 : -1;
}

static inline void pages_load(pages *m, size_t page) {
	for (size_t done = 0; done < PAGE;) {
		ssize_t n = pread(m->fd, m->memory + page * PAGE + done, PAGE - done, (off_t)(page * PAGE + done));
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) m->failed = errno;
		if (n <= 0) break;
		done += (size_t)n;
	}
	m->present[page] = 1;
	m->faults++;
}

/* pages_at is byte i of the file. */
static inline unsigned char pages_at(pages *m, size_t i) {
	if (!m->present[i / PAGE]) pages_load(m, i / PAGE);
	return m->memory[i];
}

static inline void pages_close(pages *m) {
	close(m->fd);
	free(m->memory);
	free(m->present);
}

#endif /* PAGES_H */
