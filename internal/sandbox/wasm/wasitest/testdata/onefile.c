// One file, granted by itself: its folder holds nothing else.
#include "check.h"
int main(void) {
	holds("/etc/app/settings", "key=value");
	int n = 0;
	DIR *d = opendir("/etc/app");
	CHECK(d != NULL);
	while (readdir(d) != NULL) n++;
	CHECK(n == 3);
	FAILS(open("/etc/app/other", O_RDONLY), ENOENT);
	FAILS(open("/etc/app/other", O_WRONLY | O_CREAT, 0666), EROFS);
	put("/etc/app/settings", "changed");
	return 0;
}
