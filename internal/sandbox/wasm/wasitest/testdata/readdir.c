// Listing a directory of many entries, going back to a place, starting again.
#include "check.h"
enum { N = 500 };
static char seen[N];
int main(void) {
	char path[64];
	CHECK(mkdir("/data/many", 0777) == 0);
	for (int i = 0; i < N; i++) {
		snprintf(path, sizeof path, "/data/many/entry-%03d", i);
		put(path, "");
	}
	CHECK(mkdir("/data/many/dir", 0777) == 0);
	CHECK(symlink("dir", "/data/many/link") == 0);
	DIR *d = opendir("/data/many");
	CHECK(d != NULL);
	struct dirent *e;
	int files = 0, dots = 0, others = 0;
	long place = -1;
	char at_place[64] = "";
	while ((e = readdir(d)) != NULL) {
		if (place >= 0 && at_place[0] == 0) snprintf(at_place, sizeof at_place, "%s", e->d_name);
		int i;
		if (e->d_name[0] == '.') {
			CHECK(e->d_type == DT_DIR);
			dots++;
		} else if (sscanf(e->d_name, "entry-%d", &i) == 1) {
			CHECK(e->d_type == DT_REG && e->d_ino != 0 && !seen[i]);
			seen[i] = 1;
			if (++files == N / 2) place = telldir(d);
		} else {
			CHECK(e->d_type == (strcmp(e->d_name, "dir") == 0 ? DT_DIR : DT_LNK));
			others++;
		}
	}
	CHECK(files == N && dots == 2 && others == 2);
	seekdir(d, place);
	CHECK((e = readdir(d)) != NULL && strcmp(e->d_name, at_place) == 0);
	rewinddir(d);
	for (files = 0; readdir(d) != NULL; files++) {}
	CHECK(files == N + 4);
	CHECK(closedir(d) == 0);
	CHECK(opendir("/data/many/entry-000") == NULL && errno == ENOTDIR);
	return 0;
}
