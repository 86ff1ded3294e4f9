// weft:cflags -O3 -msimd128
// Says how many words there are and which are the most frequent.
#include "words.h"

WEFT_FUNCTION(total) {
	int reducers = (int)weft_arg_int("reducers", 1);
	if (reducers < 1) return weft_fail("total: reducers must be at least 1");
	words_sum sum;
	memset(&sum, 0, sizeof sum);
	weft_view *views = (weft_view *)words_need(calloc((size_t)reducers, sizeof *views));
	for (int r = 0; r < reducers; r++) {
		char slot[64];
		words_head head;
		const char *text;
		snprintf(slot, sizeof slot, "reduce[%d]/counts", r);
		int e = weft_take(slot, WORDS_TYPE, &views[r]);
		if (e) return weft_fail("total: take %s: %s", slot, weft_error(e));
		const words_item *items = words_items(&views[r], &head, &text);
		if (!items) return weft_fail("total: %s is damaged", slot);
		words_sum_up(&sum, items, text, head.words);
	}
	words_return(&sum);
	for (int r = 0; r < reducers; r++) weft_release(&views[r]);
	free(views);
	return 0;
}
