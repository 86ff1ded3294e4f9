/*
 * alloystack.h: what the functions in this folder share. They do what AlloyStack's functions of the same names do, take
 * the same arguments (id, reducer_num, mapper_num, sorter_num, merger_num, n; numbers as strings) and use run-wide slots.
 */
#ifndef ALLOYSTACK_H
#define ALLOYSTACK_H

#include <weft.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

static inline int argument(const char *name, int fallback) { return (int)weft_arg_int(name, fallback); }

/* input_file writes the path of part id of the input where it is found: in the image or in a folder granted as /data, by
 * AlloyStack's name (fake_data_0.txt, sort_data_0.txt) or as weft bench data names it (part-0). 0 when there is none. */
static inline int input_file(char path[256], const char *kind, int id) {
	static const char *const folders[] = {"", "/data"};
	struct stat info;
	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
		snprintf(path, 256, "%s/%s_data_%d.txt", folders[i], kind, id);
		if (stat(path, &info) == 0) return 1;
		snprintf(path, 256, "%s/part-%d", folders[i], id);
		if (stat(path, &info) == 0) return 1;
	}
	return 0;
}

static inline long long now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

#endif /* ALLOYSTACK_H */
