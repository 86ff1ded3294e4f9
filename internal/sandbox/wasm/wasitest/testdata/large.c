// A large file in large reads and writes.
#include "check.h"
enum { SIZE = 48 << 20 };
int main(void) {
	unsigned *b = malloc(SIZE), *c = malloc(SIZE);
	CHECK(b != NULL && c != NULL);
	for (unsigned i = 0; i < SIZE / 4; i++) b[i] = i * 2654435761u;
	int fd = open("/data/large", O_RDWR | O_CREAT, 0666);
	for (size_t done = 0; done < SIZE;) {
		ssize_t n = write(fd, (char *)b + done, SIZE - done);
		CHECK(n > 0);
		done += n;
	}
	CHECK(lseek(fd, 0, SEEK_SET) == 0);
	for (size_t done = 0; done < SIZE;) {
		ssize_t n = read(fd, (char *)c + done, SIZE - done);
		CHECK(n > 0);
		done += n;
	}
	CHECK(memcmp(b, c, SIZE) == 0);
	CHECK(unlink("/data/large") == 0);
	return 0;
}
