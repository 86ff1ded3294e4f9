// weft:cflags -O2
// Sees a file as memory, page by page: a page is read when it is first touched. WASI has no mmap; this is what it comes
// to, over pread, and only the touched pages are ever read.
#include <weft.h>

#include <fcntl.h>
#include <sys/stat.h>

enum { PAGE = 4096 };

typedef struct {
	int fd, failed;
	size_t size, faults;
	unsigned char *memory, *present;
} mapping;

static int map_file(mapping *m, const char *path) {
	struct stat info;
	m->fd = open(path, O_RDONLY);
	if (m->fd < 0 || fstat(m->fd, &info)) return -1;
	m->size = (size_t)info.st_size;
	m->faults = 0;
	m->failed = 0;
	m->memory = malloc(m->size + PAGE);
	m->present = calloc(m->size / PAGE + 1, 1);
	return m->memory && m->present ? 0 : -1;
}

/* at is byte i of the file. */
static unsigned char at(mapping *m, size_t i) {
	size_t page = i / PAGE;
	if (!m->present[page]) {
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
	return m->memory[i];
}

static void unmap(mapping *m) {
	close(m->fd);
	free(m->memory);
	free(m->present);
}

WEFT_FUNCTION(mmap) {
	mapping m;
	const char *path = weft_arg_str("path", "/data/part-0");
	int64_t stride = weft_arg_int("stride", 1);
	uint64_t digest = 0xcbf29ce484222325ull;
	if (stride < 1) return weft_fail("mmap: stride must be at least 1");
	if (map_file(&m, path)) return weft_fail("map %s: %s", path, strerror(errno));
	for (size_t i = 0; i < m.size; i += (size_t)stride) digest = (digest ^ at(&m, i)) * 0x100000001b3ull;
	if (m.failed) return weft_fail("read %s: %s", path, strerror(m.failed));
	weft_return_json("{\"bytes\": %zu, \"pages_read\": %zu, \"digest\": \"%016llx\"}", m.size, m.faults, (unsigned long long)digest);
	unmap(&m);
	return 0;
}
