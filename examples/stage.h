/*
 * stage.h: runs functions as the stages of a workflow in this process, for the native.c of the examples: as many threads
 * as asked for take the items of a stage one by one, and the next stage begins when all are done.
 */
#ifndef STAGE_H
#define STAGE_H

#include <weft.h>

#include <pthread.h>

typedef struct {
	const char *step;
	int (*function)(void);
	const char *input; /* format with one %d: the index */
	char **outputs;
	int items, next, failed;
} stage;

static void *stage_thread(void *argument) {
	stage *s = (stage *)argument;
	for (;;) {
		char input[512];
		int i = __atomic_fetch_add(&s->next, 1, __ATOMIC_RELAXED);
		if (i >= s->items) return NULL;
		snprintf(input, sizeof input, s->input, i);
		if (weft_native_call(s->step, i, s->function, input, s->outputs ? &s->outputs[i] : NULL))
			__atomic_store_n(&s->failed, 1, __ATOMIC_RELAXED);
	}
}

/* stage_run calls a function items times and exits with status 1 when a call fails. */
static void stage_run(const char *step, int (*function)(void), int items, int threads, const char *input, char **outputs) {
	stage s = {step, function, input, outputs, items, 0, 0};
	pthread_t others[64];
	int started = 0;
	if (threads > items) threads = items;
	while (started < threads - 1 && started < 64 && pthread_create(&others[started], NULL, stage_thread, &s) == 0) started++;
	stage_thread(&s);
	for (int i = 0; i < started; i++) pthread_join(others[i], NULL);
	if (s.failed) exit(1);
}

#endif /* STAGE_H */
