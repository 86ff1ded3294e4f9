// A descriptor takes another's number, and the lowest free number is given first.
#include "check.h"
int main(void) {
	put("/data/a", "a");
	put("/data/b", "b");
	int a = open("/data/a", O_RDONLY), b = open("/data/b", O_RDONLY);
	CHECK(b == a + 1);
	WASI(__wasi_fd_renumber(a, b), 0);
	char c;
	CHECK(read(b, &c, 1) == 1 && c == 'a');
	FAILS(read(a, &c, 1), EBADF);
	WASI(__wasi_fd_renumber(b, a), __WASI_ERRNO_BADF);
	WASI(__wasi_fd_renumber(a, b), __WASI_ERRNO_BADF);
	WASI(__wasi_fd_renumber(b, b), 0);
	CHECK(open("/data/b", O_RDONLY) == a);
	WASI(__wasi_fd_renumber(a, 0), 0); // over standard input
	CHECK(read(0, &c, 1) == 1 && c == 'b');
	return 0;
}
