// Greets, after using every module of the sandbox. It needs no grant: being refused loads a module too.
#include "alloystack.h"

WEFT_FUNCTION(load_all) {
	struct stat info;
	weft_view view;
	int fd;
	long long start = now();
	(void)stat("/", &info);
	int e = weft_alloc(&view, WEFT_PAGE);
	if (!e) e = weft_release(&view);
	if (e) return weft_fail("load_all: buffer: %s", weft_error(e));
	if (weft_dial("localhost", 80, &fd) == 0) close(fd);
	return now() < start ? 1 : weft_return_json("Hello, world! id: %d\n", argument("id", 0));
}
