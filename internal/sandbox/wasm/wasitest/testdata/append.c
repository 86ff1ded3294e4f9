// Appending goes to the end wherever the position is; pwrite does not append.
#include "check.h"
int main(void) {
	put("/data/f", "start");
	int a = open("/data/f", O_WRONLY | O_APPEND), b = open("/data/f", O_WRONLY | O_APPEND);
	CHECK(a >= 0 && b >= 0);
	CHECK(write(a, "1", 1) == 1 && write(b, "2", 1) == 1);
	CHECK(lseek(a, 0, SEEK_SET) == 0 && write(a, "3", 1) == 1);
	CHECK(lseek(a, 0, SEEK_CUR) == 8);
	holds("/data/f", "start123");
	CHECK(pwrite(a, "S", 1, 0) == 1);
	CHECK(lseek(a, 0, SEEK_CUR) == 8);
	holds("/data/f", "Start123");
	CHECK(fcntl(a, F_GETFL) & O_APPEND);
	CHECK(fcntl(a, F_SETFL, 0) == 0);
	CHECK(lseek(a, 1, SEEK_SET) == 1 && write(a, "T", 1) == 1);
	holds("/data/f", "STart123");
	CHECK(fcntl(a, F_SETFL, O_APPEND) == 0 && write(a, "4", 1) == 1);
	holds("/data/f", "STart1234");
	return 0;
}
