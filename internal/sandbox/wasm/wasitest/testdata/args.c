// Arguments and environment arrive as given, empty ones too.
#include "check.h"
extern char **environ;
int main(int argc, char **argv) {
	for (int i = 1; i < argc; i++) printf("[%s]", argv[i]);
	printf("\n%s\n", getenv("GREETING") ? getenv("GREETING") : "(none)");
	CHECK(getenv("NOT_SET") == NULL);
	return 0;
}
