/*
 * words.h: the algorithm of the word count, shared by the functions and by native.c, the same in one plain process.
 *
 * A word is a run of letters, digits and bytes above 127, with A-Z as a-z. The text is read in pieces that stay in the
 * cache, cut into words 64 bytes at a time by SIMD masks, and counted in a hash table with open addressing whose entries
 * hold the first 16 bytes of a word, so that most comparisons touch nothing else.
 */
#ifndef WORDS_H
#define WORDS_H

#include <weft.h>

#include <fcntl.h>

#ifdef __wasm_simd128__
#include <wasm_simd128.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

typedef uint8_t words_bytes __attribute__((vector_size(16)));

typedef struct {
	uint64_t low, high; /* the first 16 bytes, zeros after a shorter word */
	uint64_t count;     /* 0: free */
	uint32_t offset;    /* of the word in the text of the table */
	uint32_t length;
} words_entry;

typedef struct {
	words_entry *entries;
	uint32_t mask; /* number of entries - 1, a power of two */
	uint32_t used;
	char *text;
	size_t text_size, text_room;
} words_table;

static void *words_need(void *memory) {
	if (!memory) {
		weft_fail("out of memory");
		exit(1);
	}
	return memory;
}

static inline void words_init(words_table *t) {
	memset(t, 0, sizeof *t);
	t->mask = (1 << 12) - 1;
	t->entries = (words_entry *)words_need(calloc(t->mask + 1, sizeof *t->entries));
	t->text_room = 1 << 16;
	t->text = (char *)words_need(malloc(t->text_room));
}

static inline void words_free(words_table *t) {
	free(t->entries);
	free(t->text);
}

static inline uint8_t words_lower(char c) { return (uint8_t)(c >= 'A' && c <= 'Z' ? c | 0x20 : c); }

static inline uint64_t words_hash(uint64_t low, uint64_t high) {
	uint64_t h = (low ^ (high << 29 | high >> 35)) * 0x9e3779b97f4a7c15ull;
	return (h ^ h >> 32) * 0xd6e8feb86659fd93ull;
}

static __attribute__((noinline)) uint64_t words_hash_tail(uint64_t h, const char *word, size_t length) {
	for (size_t i = 16; i < length; i++) h = (h ^ words_lower(word[i])) * 0x100000001b3ull;
	return h;
}

/* words_key loads the beginning of a word in lower case; 16 bytes can be read at it. The hash is of all of the word. */
static inline uint64_t words_key(const char *word, size_t length, uint64_t *low, uint64_t *high) {
	static const uint8_t keep[32] __attribute__((aligned(16))) = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
		255, 255, 255, 255, 255};
	words_bytes v, k;
	uint64_t halves[2];
	memcpy(&v, word, 16);
	v |= (words_bytes)((uint8_t)26 > (v - (uint8_t)'A')) & (uint8_t)0x20;
	memcpy(&k, keep + 16 - (length < 16 ? length : 16), 16);
	v &= k;
	memcpy(halves, &v, 16);
	*low = halves[0];
	*high = halves[1];
	uint64_t h = words_hash(*low, *high);
	return length <= 16 ? h : words_hash_tail(h, word, length);
}

static __attribute__((noinline)) int words_same_tail(const char *stored, const char *word, size_t length) {
	for (size_t i = 16; i < length; i++)
		if ((uint8_t)stored[i] != words_lower(word[i])) return 0;
	return 1;
}

static void words_grow(words_table *t) {
	uint32_t mask = 2 * t->mask + 1;
	words_entry *larger = (words_entry *)words_need(calloc((size_t)mask + 1, sizeof *larger));
	for (uint32_t i = 0; i <= t->mask; i++) {
		words_entry *e = &t->entries[i];
		if (!e->count) continue;
		uint64_t low, high;
		uint32_t j = (uint32_t)words_key(t->text + e->offset, e->length, &low, &high) & mask;
		while (larger[j].count) j = (j + 1) & mask;
		larger[j] = *e;
	}
	free(t->entries);
	t->entries = larger;
	t->mask = mask;
}

/* words_insert takes a word into the free entry e. */
static __attribute__((noinline)) void words_insert(words_table *t, words_entry *e, const char *word, size_t length,
	uint64_t count) {
	while (t->text_size + length + 16 > t->text_room) {
		t->text_room *= 2;
		t->text = (char *)words_need(realloc(t->text, t->text_room));
	}
	char *text = t->text + t->text_size;
	for (size_t i = 0; i < length; i++) text[i] = (char)words_lower(word[i]);
	memset(text + length, 0, 16);
	e->offset = (uint32_t)t->text_size;
	e->length = (uint32_t)length;
	e->count = count;
	t->text_size += length;
	if (++t->used > t->mask / 2) words_grow(t);
}

/* words_add counts a word; 16 bytes can be read at it. */
static inline __attribute__((always_inline)) void words_add(words_table *t, const char *word, size_t length, uint64_t count) {
	uint64_t low, high;
	uint32_t i = (uint32_t)words_key(word, length, &low, &high) & t->mask;
	for (;; i = (i + 1) & t->mask) {
		words_entry *e = &t->entries[i];
		if (e->low == low && e->high == high && e->length == length && e->count &&
			(length <= 16 || words_same_tail(t->text + e->offset, word, length))) {
			e->count += count;
			return;
		}
		if (!e->count) {
			e->low = low;
			e->high = high;
			words_insert(t, e, word, length, count);
			return;
		}
	}
}

/* words_mask has a bit for each of 16 bytes that belongs to a word. */
static inline uint32_t words_mask(const char *text) {
	words_bytes v;
	memcpy(&v, text, 16);
	words_bytes in = (words_bytes)((uint8_t)26 > ((v | (uint8_t)0x20) - (uint8_t)'a')) |
		(words_bytes)((uint8_t)10 > (v - (uint8_t)'0')) | (words_bytes)(v > (uint8_t)127);
#ifdef __wasm_simd128__
	return (uint32_t)wasm_i8x16_bitmask((v128_t)in);
#elif defined(__SSE2__)
	return (uint32_t)_mm_movemask_epi8((__m128i)in);
#else
	uint32_t bits = 0;
	for (int i = 0; i < 16; i++) bits |= (uint32_t)(in[i] & 1) << i;
	return bits;
#endif
}

/* words_count counts the words of text, whose last byte belongs to none; 64 bytes can be read beyond its end. */
static inline void words_count(words_table *t, const char *text, size_t n) {
	const char *start = text;
	uint64_t inside = 0;
	for (size_t at = 0; at < n; at += 64) {
		uint64_t m = (uint64_t)words_mask(text + at) | (uint64_t)words_mask(text + at + 16) << 16 |
			(uint64_t)words_mask(text + at + 32) << 32 | (uint64_t)words_mask(text + at + 48) << 48;
		if (n - at < 64) m &= ((uint64_t)1 << (n - at)) - 1;
		uint64_t edges = m ^ (m << 1 | inside);
		while (edges) {
			const char *edge = text + at + __builtin_ctzll(edges);
			edges &= edges - 1;
			if (inside)
				words_add(t, start, (size_t)(edge - start), 1);
			else
				start = edge;
			inside ^= 1;
		}
	}
}

enum { WORDS_PIECE = 256 << 10 };

/* words_file counts the words of a file and returns 0, or an errno. */
static inline int words_file(words_table *t, const char *path) {
	size_t room = WORDS_PIECE, have = 0;
	int fd = open(path, O_RDONLY);
	if (fd < 0) return errno;
	char *piece = (char *)words_need(malloc(room + 65));
	for (;;) {
		ssize_t got = read(fd, piece + have, room - have);
		if (got < 0 && errno == EINTR) continue;
		if (got < 0) {
			int e = errno;
			close(fd);
			free(piece);
			return e;
		}
		if (got == 0) break;
		/* Only whole words are counted; the beginning of the next one moves to the front. */
		size_t whole = have + (size_t)got;
		have = whole;
		while (whole > 0 && words_mask(piece + whole - 1) & 1) whole--;
		words_count(t, piece, whole);
		memmove(piece, piece + whole, have -= whole);
		if (have > room / 2) {
			room *= 2;
			piece = (char *)words_need(realloc(piece, room + 65));
		}
	}
	piece[have] = ' ';
	words_count(t, piece, have + 1);
	free(piece);
	close(fd);
	return 0;
}

/* ---- a table as it is published: a head, the words in no order, their text, 16 bytes of nothing ---- */

#define WORDS_TYPE WEFT_TYPE("words struct{Words uint32;Text uint32} []struct{Count uint64;Offset uint32;Length uint32} []uint8")

typedef struct {
	uint32_t words, text;
} words_head;

typedef struct {
	uint64_t count;
	uint32_t offset, length;
} words_item;

/* words_part is the reducer, of parts, that a word belongs to. */
static inline uint32_t words_part(const words_entry *e, uint32_t parts) {
	return (uint32_t)((words_hash(e->low, e->high) >> 32) * parts >> 32);
}

/* words_put publishes the words of one part of a table, or of all of it when parts is 1, and returns 0 or an error. */
static inline int words_put(const words_table *t, const char *slot, uint32_t part, uint32_t parts) {
	words_head head = {0, 0};
	weft_view v;
	for (uint32_t i = 0; i <= t->mask; i++)
		if (t->entries[i].count && words_part(&t->entries[i], parts) == part) {
			head.words++;
			head.text += t->entries[i].length;
		}
	int e = weft_alloc(&v, sizeof head + head.words * sizeof(words_item) + head.text + 16);
	if (e) return e;
	memcpy(v.data, &head, sizeof head);
	words_item *item = (words_item *)((char *)v.data + sizeof head);
	char *text = (char *)(item + head.words), *end = text;
	for (uint32_t i = 0; i <= t->mask; i++)
		if (t->entries[i].count && words_part(&t->entries[i], parts) == part) {
			words_entry *entry = &t->entries[i];
			item->count = entry->count;
			item->offset = (uint32_t)(end - text);
			item->length = entry->length;
			memcpy(end, t->text + entry->offset, entry->length);
			end += entry->length;
			item++;
		}
	e = weft_put(slot, WORDS_TYPE, v.data, v.size);
	int released = weft_release(&v);
	return e ? e : released;
}

/* words_items checks a published table and returns its items and their text; NULL when it is damaged. */
static inline const words_item *words_items(const weft_view *v, words_head *head, const char **text) {
	if (v->size < sizeof *head) return NULL;
	memcpy(head, v->data, sizeof *head);
	if (v->size != sizeof *head + (uint64_t)head->words * sizeof(words_item) + head->text + 16) return NULL;
	const words_item *items = (const words_item *)((const char *)v->data + sizeof *head);
	*text = (const char *)(items + head->words);
	for (uint32_t i = 0; i < head->words; i++)
		if (items[i].offset > head->text || items[i].length > head->text - items[i].offset) return NULL;
	return items;
}

/* words_merge takes a published table and adds its words; it returns 0 or an error. */
static inline int words_merge(words_table *t, const char *slot) {
	weft_view v;
	words_head head;
	const char *text;
	int e = weft_take(slot, WORDS_TYPE, &v);
	if (e) return e;
	const words_item *items = words_items(&v, &head, &text);
	if (!items) e = WEFT_ETYPE;
	for (uint32_t i = 0; items && i < head.words; i++) words_add(t, text + items[i].offset, items[i].length, items[i].count);
	int released = weft_release(&v);
	return e ? e : released;
}

/* ---- what all of it comes to ---- */

enum { WORDS_TOP = 20 };

typedef struct {
	uint64_t words, distinct, digest;
	int tops;
	struct {
		uint64_t count;
		const char *word;
		uint32_t length;
	} top[WORDS_TOP];
} words_sum;

/* words_sum_up adds published words that are not yet in the sum. Their text must stay. */
static inline void words_sum_up(words_sum *s, const words_item *items, const char *text, uint32_t n) {
	for (uint32_t i = 0; i < n; i++) {
		char number[24];
		const char *word = text + items[i].offset;
		uint32_t length = items[i].length;
		uint64_t count = items[i].count, h = 0xcbf29ce484222325ull;
		int digits = snprintf(number, sizeof number, " %llu\n", (unsigned long long)count);
		for (uint32_t j = 0; j < length; j++) h = (h ^ (uint8_t)word[j]) * 0x100000001b3ull;
		for (int j = 0; j < digits; j++) h = (h ^ (uint8_t)number[j]) * 0x100000001b3ull;
		s->words += count;
		s->distinct++;
		s->digest += h;
		int at = s->tops;
		while (at > 0) {
			uint32_t common = length < s->top[at - 1].length ? length : s->top[at - 1].length;
			int order = memcmp(word, s->top[at - 1].word, common);
			int before = count != s->top[at - 1].count ? count > s->top[at - 1].count
				: order != 0 ? order < 0 : length < s->top[at - 1].length;
			if (!before) break;
			at--;
		}
		if (at == WORDS_TOP) continue;
		if (s->tops < WORDS_TOP) s->tops++;
		memmove(&s->top[at + 1], &s->top[at], (size_t)(s->tops - 1 - at) * sizeof s->top[0]);
		s->top[at].count = count;
		s->top[at].word = word;
		s->top[at].length = length;
	}
}

static inline int words_return(const words_sum *s) {
	weft_return_json("{\"words\": %llu, \"distinct\": %llu, \"top\": [", (unsigned long long)s->words,
		(unsigned long long)s->distinct);
	for (int i = 0; i < s->tops; i++) {
		weft_return_json("%s{\"word\": ", i ? ", " : "");
		weft_return_string(s->top[i].word, s->top[i].length);
		weft_return_json(", \"count\": %llu}", (unsigned long long)s->top[i].count);
	}
	return weft_return_json("], \"digest\": \"%016llx\"}", (unsigned long long)s->digest);
}

#endif /* WORDS_H */
