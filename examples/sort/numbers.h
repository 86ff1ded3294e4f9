/*
 * numbers.h: the algorithm of the sort, shared by the functions and by native.c, the same in one plain process.
 *
 * Every sorter parses its part, sorts it by radix and publishes it with a sample: every 512th number. Every splitter finds
 * the same pivots in all samples together, and publishes where its part is to be cut: offsets, not copies. Every merger
 * borrows all sorted parts and merges its range of each.
 */
#ifndef NUMBERS_H
#define NUMBERS_H

#include <weft.h>

#include <fcntl.h>
#include <sys/stat.h>

#define NUMBERS_TYPE WEFT_TYPE("[]uint32")

enum { NUMBERS_STRIDE = 512 };

static inline void *numbers_memory(size_t n) {
	void *memory = malloc(n ? n : 1);
	if (!memory) {
		weft_fail("out of memory");
		exit(1);
	}
	return memory;
}

/* numbers_slot formats the name of a slot of item i. */
static inline const char *numbers_slot(char name[96], const char *format, int i) {
	snprintf(name, 96, format, i);
	return name;
}

/* numbers_load publishes the contents of a file, read straight into the buffer, with 8 zero bytes after it. */
static inline int numbers_load(const char *path, const char *slot) {
	struct stat info;
	weft_view v;
	size_t have = 0;
	int fd = open(path, O_RDONLY);
	if (fd < 0 || fstat(fd, &info)) return weft_fail("open %s: %s", path, strerror(errno));
	int e = weft_alloc(&v, (size_t)info.st_size + 8);
	if (e) return weft_fail("read %s: %s", path, weft_error(e));
	while (have < (size_t)info.st_size) {
		ssize_t got = read(fd, (char *)v.data + have, (size_t)info.st_size - have);
		if (got < 0 && errno == EINTR) continue;
		if (got < 0) return weft_fail("read %s: %s", path, strerror(errno));
		if (got == 0) return weft_fail("read %s: it became shorter", path);
		have += (size_t)got;
	}
	close(fd);
	e = weft_put(slot, WEFT_BYTES, v.data, v.size);
	if (e) return weft_fail("publish %s: %s", slot, weft_error(e));
	return weft_release(&v);
}

/* numbers_read is numbers_load as a function of its own. */
static inline int numbers_read(const char *path, const char *slot) {
	uint64_t size = 0;
	if (numbers_load(path, slot) || weft_len(slot, &size, NULL)) return 1;
	return weft_return_json("{\"bytes\": %llu}", (unsigned long long)size - 8);
}

/* numbers_parse reads decimal numbers between commas and white space, 8 digits at a time, and returns how many there are;
 * *bad is where something else stands, or NULL. 8 bytes can be read at end. out has room for (end - p + 1) / 2 numbers. */
static inline size_t numbers_parse(const char *p, const char *end, uint32_t *out, const char **bad) {
	uint32_t *start = out;
	*bad = NULL;
	while (p < end) {
		uint64_t eight;
		if (*p == ',' || *p == ' ' || *p == '\n' || *p == '\r' || *p == '\t') {
			p++;
			continue;
		}
		memcpy(&eight, p, 8);
		eight ^= 0x3030303030303030ull;
		uint64_t other = ((eight + 0x7676767676767676ull) | eight) & 0x8080808080808080ull;
		int digits = other ? __builtin_ctzll(other) / 8 : 8;
		if (digits > end - p) digits = (int)(end - p);
		if (digits == 0) {
			*bad = p;
			break;
		}
		eight <<= 64 - 8 * digits;
		eight = eight * 10 + (eight >> 8);
		uint64_t n = ((eight & 0x000000ff000000ffull) * 0x000f424000000064ull +
			(eight >> 16 & 0x000000ff000000ffull) * 0x0000271000000001ull) >> 32;
		p += digits;
		if (digits == 8)
			for (; p < end && (uint8_t)(*p - '0') < 10; p++) {
				n = n * 10 + (uint8_t)(*p - '0');
				if (n > UINT32_MAX) break;
			}
		if (n > UINT32_MAX || (p < end && *p != ',' && *p != ' ' && *p != '\n' && *p != '\r' && *p != '\t')) {
			*bad = p;
			break;
		}
		*out++ = (uint32_t)n;
	}
	return (size_t)(out - start);
}

/* numbers_radix sorts n numbers from a into b; both are overwritten. */
static inline void numbers_radix(uint32_t *a, uint32_t *b, size_t n) {
	uint32_t *counts = (uint32_t *)numbers_memory(3 * 2048 * sizeof *counts), *low = counts, *middle = counts + 2048,
		*high = counts + 4096;
	uint32_t sums[3] = {0, 0, 0};
	memset(counts, 0, 3 * 2048 * sizeof *counts);
	for (size_t i = 0; i < n; i++) {
		low[a[i] & 2047]++;
		middle[a[i] >> 11 & 2047]++;
		high[a[i] >> 22]++;
	}
	for (int i = 0; i < 2048; i++)
		for (int pass = 0; pass < 3; pass++) {
			uint32_t count = counts[2048 * pass + i];
			counts[2048 * pass + i] = sums[pass];
			sums[pass] += count;
		}
	for (size_t i = 0; i < n; i++) b[low[a[i] & 2047]++] = a[i];
	for (size_t i = 0; i < n; i++) a[middle[b[i] >> 11 & 2047]++] = b[i];
	for (size_t i = 0; i < n; i++) b[high[a[i] >> 22]++] = a[i];
	free(counts);
}

/* numbers_sort takes the text of a part and publishes its numbers, sorted, and the sample of them: how many parts and
 * mergers there are, and every 512th number. */
static inline int numbers_sort(const char *input, const char *sorted, const char *sample, int sorters, int mergers) {
	weft_view text, out, samples;
	const char *bad;
	if (sorters < 1 || mergers < 1) return weft_fail("sort: there must be sorters and mergers");
	int e = weft_take(input, WEFT_BYTES, &text);
	if (e) return weft_fail("take %s: %s", input, weft_error(e));
	size_t bytes = text.size < 8 ? 0 : text.size - 8;
	uint32_t *numbers = (uint32_t *)numbers_memory((bytes / 2 + 1) * sizeof *numbers);
	size_t n = numbers_parse((const char *)text.data, (const char *)text.data + bytes, numbers, &bad);
	if (bad) return weft_fail("sort: no number below 4294967296 at byte %zu of %s", (size_t)(bad - (const char *)text.data), input);
	if (!(e = weft_release(&text))) e = weft_alloc(&out, n * sizeof *numbers);
	if (e) return weft_fail("sort: %s", weft_error(e));
	numbers_radix(numbers, (uint32_t *)out.data, n);
	free(numbers);
	e = weft_alloc(&samples, (2 + (n + NUMBERS_STRIDE - 1) / NUMBERS_STRIDE) * sizeof(uint32_t));
	if (e) return weft_fail("sort: %s", weft_error(e));
	uint32_t *s = (uint32_t *)samples.data;
	*s++ = (uint32_t)sorters;
	*s++ = (uint32_t)mergers;
	for (size_t i = 0; i < n; i += NUMBERS_STRIDE) *s++ = ((uint32_t *)out.data)[i];
	if ((e = weft_put(sorted, NUMBERS_TYPE, out.data, n * sizeof(uint32_t)))) return weft_fail("publish %s: %s", sorted, weft_error(e));
	if ((e = weft_put(sample, NUMBERS_TYPE, samples.data, samples.size))) return weft_fail("publish %s: %s", sample, weft_error(e));
	weft_release(&samples);
	weft_release(&out);
	return weft_return_json("{\"numbers\": %zu}", n);
}

/* numbers_below is how many of n sorted numbers are below the limit. */
static inline size_t numbers_below(const uint32_t *numbers, size_t n, uint32_t limit) {
	size_t from = 0;
	while (n > 0) {
		size_t half = n / 2;
		if (numbers[from + half] < limit) {
			from += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return from;
}

/* numbers_split publishes at which offsets the sorted part i is to be cut: one more than there are mergers. The names of
 * the samples are a format with the number of the part. */
static inline int numbers_split(const char *sorted, const char *samples, const char *bounds, int i) {
	char name[96];
	weft_view part, sample;
	int e = weft_borrow(numbers_slot(name, samples, i), NUMBERS_TYPE, &sample);
	if (e) return weft_fail("borrow %s: %s", name, weft_error(e));
	int sorters = (int)((uint32_t *)sample.data)[0], mergers = (int)((uint32_t *)sample.data)[1];
	weft_release(&sample);
	size_t n = 0;
	uint32_t *pool = NULL;
	for (int k = 0; k < sorters; k++) {
		e = weft_borrow(numbers_slot(name, samples, k), NUMBERS_TYPE, &sample);
		if (e) return weft_fail("borrow %s: %s", name, weft_error(e));
		size_t more = sample.size / sizeof *pool - 2;
		uint32_t *larger = (uint32_t *)numbers_memory((n + more) * sizeof *pool);
		if (n) memcpy(larger, pool, n * sizeof *pool);
		memcpy(larger + n, (uint32_t *)sample.data + 2, more * sizeof *pool);
		free(pool);
		pool = larger;
		n += more;
		weft_release(&sample);
	}
	uint32_t *ordered = (uint32_t *)numbers_memory(n * sizeof *pool);
	numbers_radix(pool, ordered, n);
	free(pool);
	if ((e = weft_borrow(sorted, NUMBERS_TYPE, &part))) return weft_fail("borrow %s: %s", sorted, weft_error(e));
	size_t count = part.size / sizeof(uint32_t), room = ((size_t)mergers + 1) * sizeof(uint32_t);
	uint32_t *cuts = (uint32_t *)numbers_memory(room);
	cuts[0] = 0;
	for (int j = 1; j < mergers; j++)
		cuts[j] = n ? (uint32_t)numbers_below((const uint32_t *)part.data, count, ordered[n * (size_t)j / (size_t)mergers]) : 0;
	cuts[mergers] = (uint32_t)count;
	if ((e = weft_put(bounds, NUMBERS_TYPE, cuts, room))) return weft_fail("publish %s: %s", bounds, weft_error(e));
	weft_release(&part);
	free(ordered);
	free(cuts);
	return weft_return_json("{\"parts\": %d}", mergers);
}

/* numbers_merge_two merges a and b into out, without a branch that depends on the numbers. */
static inline void numbers_merge_two(const uint32_t *a, size_t n, const uint32_t *b, size_t m, uint32_t *out) {
	const uint32_t *a_end = a + n, *b_end = b + m;
	while (a < a_end && b < b_end) {
		uint32_t x = *a, y = *b;
		int second = y < x;
		*out++ = second ? y : x;
		b += second;
		a += !second;
	}
	memcpy(out, a, (size_t)(a_end - a) * sizeof *a);
	memcpy(out + (a_end - a), b, (size_t)(b_end - b) * sizeof *b);
}

typedef struct {
	const uint32_t *numbers;
	size_t n;
} numbers_run;

/* numbers_merge merges range j of all sorted parts and publishes the result. sorted and bounds are formats. */
static inline int numbers_merge(const char *sorted, const char *bounds, const char *merged, int sorters, int j) {
	char name[96];
	weft_view out, cuts;
	size_t total = 0;
	if (sorters < 1) return weft_fail("merge: there must be sorters");
	weft_view *parts = (weft_view *)numbers_memory((size_t)sorters * sizeof *parts);
	numbers_run *runs = (numbers_run *)numbers_memory((size_t)sorters * sizeof *runs);
	for (int i = 0; i < sorters; i++) {
		int e = weft_borrow(numbers_slot(name, sorted, i), NUMBERS_TYPE, &parts[i]);
		if (!e) e = weft_borrow(numbers_slot(name, bounds, i), NUMBERS_TYPE, &cuts);
		if (e) return weft_fail("borrow part %d for %s: %s", i, name, weft_error(e));
		uint32_t *at = (uint32_t *)cuts.data;
		if ((size_t)j + 2 > cuts.size / sizeof *at || at[j] > at[j + 1] || at[j + 1] > parts[i].size / sizeof *at)
			return weft_fail("merge: %s has no part %d", name, j);
		runs[i].numbers = (const uint32_t *)parts[i].data + at[j];
		runs[i].n = at[j + 1] - at[j];
		total += runs[i].n;
		weft_release(&cuts);
	}
	int e = weft_alloc(&out, total * sizeof(uint32_t));
	if (e) return weft_fail("merge: %s", weft_error(e));
	/* Neighbours are merged in pairs until one is left; the two spaces are used in turn, so that the last one is out. */
	int left = sorters, passes = 0;
	for (int k = 1; k < sorters; k *= 2) passes++;
	uint32_t *spare = passes > 1 ? (uint32_t *)numbers_memory(total * sizeof *spare) : NULL;
	if (passes == 0) memcpy(out.data, runs[0].numbers, total * sizeof(uint32_t));
	for (; passes > 0; passes--) {
		uint32_t *to = passes % 2 ? (uint32_t *)out.data : spare;
		int made = 0;
		for (int i = 0; i < left; i += 2, made++) {
			size_t m = i + 1 < left ? runs[i + 1].n : 0;
			numbers_merge_two(runs[i].numbers, runs[i].n, i + 1 < left ? runs[i + 1].numbers : to, m, to);
			runs[made].n = runs[i].n + m;
			runs[made].numbers = to;
			to += runs[made].n;
		}
		left = made;
	}
	free(spare);
	for (int i = 0; i < sorters; i++) weft_release(&parts[i]);
	free(parts);
	free(runs);
	if ((e = weft_put(merged, NUMBERS_TYPE, out.data, total * sizeof(uint32_t)))) return weft_fail("publish %s: %s", merged, weft_error(e));
	weft_release(&out);
	return weft_return_json("{\"numbers\": %zu}", total);
}

/* numbers_check checks that the merged parts are sorted, each and from one to the next, and that none is lost. sorted is a
 * format, or NULL where the sorted parts are not known. */
static inline int numbers_check(const char *merged, const char *sorted, int mergers, int sorters) {
	char name[96];
	uint32_t least = 0, last = 0;
	uint64_t total = 0, before = 0, size, digest = 0xcbf29ce484222325ull;
	for (int i = 0; sorted && i < sorters; i++) {
		int e = weft_len(numbers_slot(name, sorted, i), &size, NULL);
		if (e) return weft_fail("look up %s: %s", name, weft_error(e));
		before += size / sizeof least;
	}
	for (int j = 0; j < mergers; j++) {
		weft_view v;
		int e = weft_take(numbers_slot(name, merged, j), NUMBERS_TYPE, &v);
		if (e) return weft_fail("take %s: %s", name, weft_error(e));
		const uint32_t *numbers = (const uint32_t *)v.data;
		size_t n = v.size / sizeof *numbers;
		for (size_t i = 0; i < n; i++) {
			uint32_t x = numbers[i];
			if (total + i == 0) least = x;
			if (x < last) return weft_fail("check: %u follows %u in %s", x, last, name);
			last = x;
			for (int k = 0; k < 32; k += 8) digest = (digest ^ (x >> k & 255)) * 0x100000001b3ull;
		}
		total += n;
		weft_release(&v);
	}
	if (sorted && total != before) return weft_fail("check: %llu numbers became %llu", (unsigned long long)before, (unsigned long long)total);
	return weft_return_json("{\"numbers\": %llu, \"least\": %u, \"most\": %u, \"digest\": \"%016llx\"}",
		(unsigned long long)total, least, last, (unsigned long long)digest);
}

#endif /* NUMBERS_H */
