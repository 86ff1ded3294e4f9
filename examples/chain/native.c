/*
 * The chain in one plain process.
 *
 *     clang -O3 -pthread -I ../../sdk/c native.c -o native && ./native LINKS BYTES TOUCH
 */
#include "link.c"

int main(int argc, char **argv) {
	if (argc != 4) return weft_fail("usage: native LINKS BYTES true|false");
	char *output = NULL;
	for (int i = 0; i < atoi(argv[1]); i++) {
		char input[256], step[16];
		snprintf(step, sizeof step, "s%d", i);
		if (i == 0)
			snprintf(input, sizeof input, "{\"size\": %s}", argv[2]);
		else
			snprintf(input, sizeof input, "{\"from\": \"s%d/data\", \"touch\": %s}", i - 1, argv[3]);
		free(output);
		if (weft_native_call(step, -1, weft_function_link, input, &output)) return 1;
	}
	puts(output ? output : "");
	free(output);
	return 0;
}
