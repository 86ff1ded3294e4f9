// Creates lines.txt where it may write, writes a line, reads it back twice and checks the size.
#include "alloystack.h"

WEFT_FUNCTION(simple_file) {
	static const char line[] = "Rust LibOS Cool.", *const paths[] = {"/lines.txt", "/data/lines.txt", "/tmp/lines.txt"};
	enum { SIZE = sizeof line - 1 };
	char text[64];
	struct stat info;
	int fd = -1;
	for (size_t i = 0; fd < 0 && i < sizeof paths / sizeof *paths; i++) fd = open(paths[i], O_CREAT | O_TRUNC | O_RDWR, 0644);
	if (fd < 0) return weft_fail("simple_file: create /lines.txt, /data/lines.txt or /tmp/lines.txt: %s", strerror(errno));
	if (write(fd, line, SIZE) != SIZE) return weft_fail("simple_file: write: %s", strerror(errno));
	for (int i = 0; i < 2; i++)
		if (lseek(fd, 0, SEEK_SET) != 0 || read(fd, text, sizeof text) != SIZE || memcmp(text, line, SIZE) != 0)
			return weft_fail("simple_file: read back: %s", strerror(errno));
	if (fstat(fd, &info) || info.st_size != SIZE) return weft_fail("simple_file: stat: %s", strerror(errno));
	close(fd);
	return weft_return_json("{\"bytes\": %d}", SIZE);
}
