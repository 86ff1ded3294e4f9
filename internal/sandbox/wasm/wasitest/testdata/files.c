// Files made, written and read with the C library's buffered streams.
#include "check.h"
int main(void) {
	FILE *f = fopen("/data/notes", "w");
	CHECK(f != NULL);
	for (int i = 0; i < 1000; i++) CHECK(fprintf(f, "line %d\n", i) > 0);
	CHECK(fclose(f) == 0);
	f = fopen("/data/notes", "r+");
	CHECK(f != NULL);
	char line[64], want[64];
	for (int i = 0; i < 1000; i++) {
		CHECK(fgets(line, sizeof line, f) != NULL);
		snprintf(want, sizeof want, "line %d\n", i);
		CHECK(strcmp(line, want) == 0);
	}
	CHECK(fgets(line, sizeof line, f) == NULL && feof(f));
	CHECK(fseek(f, -9, SEEK_END) == 0);
	CHECK(ftell(f) == 8890 - 9);
	CHECK(fputs("LINE", f) >= 0);
	CHECK(fclose(f) == 0);
	CHECK(fopen("/data/none", "r") == NULL && errno == ENOENT);
	CHECK(fopen("/data/none/x", "w") == NULL && errno == ENOENT);
	CHECK(fopen("/data/notes/x", "w") == NULL && errno == ENOTDIR);
	CHECK(unlink("/data/notes") == 0);
	CHECK(access("/data/notes", F_OK) == -1 && errno == ENOENT);
	return 0;
}
