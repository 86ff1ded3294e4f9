// The exit status is what the program says, from main, exit and _Exit.
#include "check.h"
int main(int argc, char **argv) {
	int code = atoi(argv[2]);
	printf("leaving\n");
	if (strcmp(argv[1], "exit") == 0) exit(code);
	if (strcmp(argv[1], "_Exit") == 0) {
		fflush(stdout);
		_Exit(code);
	}
	return code;
}
