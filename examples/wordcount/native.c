/*
 * The word count in one plain process: the same functions, linked together, with threads instead of sandboxes.
 *
 *     clang -O3 -pthread -I ../../sdk/c native.c -o native && ./native data PARTS REDUCERS [THREADS]
 */
#include "map.c"
#include "reduce.c"
#include "total.c"

#include "../stage.h"

int main(int argc, char **argv) {
	if (argc < 4) return weft_fail("usage: native FOLDER PARTS REDUCERS [THREADS]");
	int parts = atoi(argv[2]), reducers = atoi(argv[3]);
	int threads = argc > 4 ? atoi(argv[4]) : parts;
	char input[512], *output;
	snprintf(input, sizeof input, "{\"folder\": \"%s\", \"part\": %%d, \"reducers\": %d}", argv[1], reducers);
	stage_run("map", weft_function_map, parts, threads, input, NULL);
	snprintf(input, sizeof input, "{\"part\": %%d, \"mappers\": %d}", parts);
	stage_run("reduce", weft_function_reduce, reducers, threads, input, NULL);
	snprintf(input, sizeof input, "{\"reducers\": %d}", reducers);
	if (weft_native_call("total", -1, weft_function_total, input, &output)) return 1;
	puts(output);
	free(output);
	return 0;
}
