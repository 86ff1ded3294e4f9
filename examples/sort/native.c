/*
 * The sort in one plain process: the same functions, linked together, with threads instead of sandboxes.
 *
 *     clang -O3 -pthread -I ../../sdk/c native.c -o native && ./native data SORTERS MERGERS [THREADS]
 */
#include "check.c"
#include "merge.c"
#include "read.c"
#include "sort.c"
#include "split.c"

#include "../stage.h"

int main(int argc, char **argv) {
	if (argc < 4) return weft_fail("usage: native FOLDER SORTERS MERGERS [THREADS]");
	int sorters = atoi(argv[2]), mergers = atoi(argv[3]);
	int threads = argc > 4 ? atoi(argv[4]) : sorters;
	char input[512], *output;
	snprintf(input, sizeof input, "{\"folder\": \"%s\", \"part\": %%d}", argv[1]);
	stage_run("read", weft_function_read, sorters, threads, input, NULL);
	snprintf(input, sizeof input, "{\"part\": %%d, \"sorters\": %d, \"mergers\": %d}", sorters, mergers);
	stage_run("sort", weft_function_sort, sorters, threads, input, NULL);
	stage_run("split", weft_function_split, sorters, threads, input, NULL);
	stage_run("merge", weft_function_merge, mergers, threads, input, NULL);
	snprintf(input, sizeof input, "{\"sorters\": %d, \"mergers\": %d}", sorters, mergers);
	if (weft_native_call("check", -1, weft_function_check, input, &output)) return 1;
	puts(output);
	free(output);
	return 0;
}
