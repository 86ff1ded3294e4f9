// weft:cflags -O3 -msimd128
// Counts the words of one part of the input and publishes them in one table for each reducer.
#include "words.h"

WEFT_FUNCTION(map) {
	char name[64];
	int part = (int)weft_arg_int("part", 0), reducers = (int)weft_arg_int("reducers", 1);
	if (reducers < 1) return weft_fail("map: reducers must be at least 1");
	int length = snprintf(name, sizeof name, "/part-%d", part);
	const char *folder = weft_arg_str("folder", "/data");
	char *path = (char *)words_need(malloc(strlen(folder) + (size_t)length + 1));
	strcpy(path, folder);
	strcat(path, name);
	words_table t;
	words_init(&t);
	int e = words_file(&t, path);
	if (e) return weft_fail("map: read %s: %s", path, strerror(e));
	for (int r = 0; r < reducers; r++) {
		snprintf(name, sizeof name, "table-%d", r);
		e = words_put(&t, name, (uint32_t)r, (uint32_t)reducers);
		if (e) return weft_fail("map: publish %s: %s", name, weft_error(e));
	}
	weft_return_json("{\"distinct\": %u}", t.used);
	words_free(&t);
	free(path);
	return 0;
}
