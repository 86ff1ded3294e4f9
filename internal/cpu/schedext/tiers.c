//go:build ignore

// The scheduler that package schedext loads into the kernel. Each tier has a queue for all
// cores. A thread belongs to a call, as do all that it makes, and the call has a place: a
// tier, a rank, a slice. Only threads of the class SCHED_EXT are here.
//
// A core takes from the first queue that has something. In a queue the least key goes
// first: the time since when a thread wants to run, and what its rank adds to that, which
// is bounded, so it ages; in the last tier also what its call has used, so who needs little
// is done before who needs much. A thread that comes takes the core of one of a later tier.
// Against starvation a queue whose threads have waited for WAIT, or less if they are many,
// gets one core for TURN, whatever the others have.
#include "kernel.h"

#define NS_PER_MS 1000000ULL

enum {
	NOTHING = 0, // instead of a tier: a core that nobody may be driven from
	EXPRESS = 1, // tiers, and the ids of their queues
	NORMAL = 2,
	BATCH = 3,
	NOBODY = 4, // behind all tiers
	CORES = 1024,
};

#define WAIT (200 * NS_PER_MS)	 // a queue waits at most, in ns
#define ALL (10000 * NS_PER_MS)	 // and in this time all in it had a turn
#define TURN (10 * NS_PER_MS)	 //
#define LAG (10000 * NS_PER_MS)	 // is the most that a rank adds to a key
#define USED (1000 * NS_PER_MS)	 // is the most that use adds
#define LOOKS 32		 // threads of a queue that are looked at

struct place {
	u32 tier, rank;
	u64 slice; // ns; 0: that of the tier
};

// call is what the threads of a call share. The loader makes it.
struct call {
	struct place place;
	u64 used; // ns
};

// thread is what belongs to one. The loader makes it with the call, the rest is 0.
struct thread {
	u64 call;
	u64 since; // it wants to run, or has used up a slice
	u64 ran;   // ns of its slice
	u64 start; // it has the core
	u64 queued; // it was put into a queue
};

// request is the argument of the program place.
struct request {
	u64 call;
	struct place place;
};

// farewell is what the loader hears when the kernel ends the scheduler.
struct farewell {
	char reason[128], message[128];
};

struct seat {
	u64 call;
	u32 tier; // of who has the core, or is about to take it
	bool turn; // it is there against starvation
	bool next; // who gets the core next is
};

struct {
	int (*type)[1]; // BPF_MAP_TYPE_HASH
	int (*map_flags)[1]; // BPF_F_NO_PREALLOC
	int (*max_entries)[65536];
	u64 *key;
	struct call *value;
} calls SEC(".maps");

struct {
	int (*type)[29]; // BPF_MAP_TYPE_TASK_STORAGE
	int (*map_flags)[1]; // BPF_F_NO_PREALLOC
	int *key;
	struct thread *value;
} threads SEC(".maps");

struct {
	int (*type)[27]; // BPF_MAP_TYPE_RINGBUF
	int (*max_entries)[4096];
} ended SEC(".maps");

const volatile u32 cores = 1; // set by the loader
struct seat seats[CORES];
u64 turned[NOBODY]; // when a tier last had a turn

static struct thread *thread_of(struct task_struct *p)
{
	return bpf_task_storage_get(&threads, p, 0, 0);
}

static struct call *call_of(struct thread *t)
{
	return t ? bpf_map_lookup_elem(&calls, &t->call) : 0;
}

static u32 tier_of(struct call *c)
{
	u32 tier = c ? c->place.tier : NORMAL;

	return tier >= EXPRESS && tier <= BATCH ? tier : NORMAL;
}

static u64 slice_of(struct call *c)
{
	if (c && c->place.slice)
		return c->place.slice;
	switch (tier_of(c)) {
	case EXPRESS:
		return 100 * NS_PER_MS;
	case NORMAL:
		return 4 * NS_PER_MS;
	}
	return 20 * NS_PER_MS;
}

static u64 key_of(struct call *c, u64 since)
{
	u64 rank = c ? c->place.rank : 0, lag = 0;

	if (c && tier_of(c) == BATCH) {
		lag = c->used;
		if (lag > USED)
			lag = USED;
	}
	return since + lag + LAG * rank / (rank + 4);
}

static u64 left(struct thread *t, u64 slice)
{
	return t && t->ran < slice ? slice - t->ran : slice;
}

static void set_slice(struct task_struct *p, u64 slice)
{
	if (scx_bpf_task_set_slice)
		scx_bpf_task_set_slice(p, slice);
	else
		p->scx.slice = slice;
}

static struct seat *seat_of(u32 cpu)
{
	return &seats[cpu & (CORES - 1)];
}

// turned_at is an element of turned, whose bounds the verifier is shown: the compiler
// would leave out a mask that it knows to change nothing.
static u64 *turned_at(u32 tier)
{
	asm volatile("" : "+r"(tier));
	return &turned[tier & (NOBODY - 1)];
}

// owed tells whether a tier shall have a turn on a core: of the first of its threads that
// may run there one has waited for too long, and so long ago was the last turn.
static bool owed(u32 tier, s32 cpu, u64 now)
{
	s32 n = scx_bpf_dsq_nr_queued(tier), looks = LOOKS;
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;
	bool waits = false;
	u64 wait = WAIT;

	if (n <= 0)
		return false;
	if (ALL / n < wait)
		wait = ALL / n;
	if ((s64)(now - *turned_at(tier)) < (s64)wait)
		return false;
	bpf_iter_scx_dsq_new(&it, tier, 0);
	while ((p = bpf_iter_scx_dsq_next(&it)) && looks-- > 0) {
		struct thread *t = thread_of(p);

		if (t && (s64)(now - t->queued) > (s64)wait && bpf_cpumask_test_cpu(cpu, p->cpus_ptr)) {
			waits = true;
			break;
		}
	}
	bpf_iter_scx_dsq_destroy(&it);
	return waits;
}

// claim finds a core for a thread that waits: one that is idle, or that of the last tier,
// if it is a later one.
static void claim(struct task_struct *p, u32 tier)
{
	struct bpf_iter_num it;
	u32 last = tier;
	s32 at = scx_bpf_pick_idle_cpu(p->cpus_ptr, 0);
	int *cpu;

	if (at >= 0) {
		scx_bpf_kick_cpu(at, SCX_KICK_IDLE);
		return;
	}
	bpf_iter_num_new(&it, 0, cores);
	while ((cpu = bpf_iter_num_next(&it))) {
		u32 has = seat_of(*cpu)->tier;

		if (has > last && bpf_cpumask_test_cpu(*cpu, p->cpus_ptr)) {
			last = has;
			at = *cpu;
		}
	}
	bpf_iter_num_destroy(&it);
	if (at < 0)
		return;
	seat_of(at)->tier = tier; // so that the next one takes another
	scx_bpf_kick_cpu(at, SCX_KICK_PREEMPT);
}

SEC("struct_ops/select_cpu")
s32 tiers_select_cpu(u64 *ctx)
{
	struct task_struct *p = (void *)ctx[0];
	bool idle = false;
	s32 cpu = scx_bpf_select_cpu_dfl(p, ctx[1], ctx[2], &idle);

	if (idle)
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice_of(call_of(thread_of(p))), 0);
	return cpu;
}

SEC("struct_ops/enqueue")
void tiers_enqueue(u64 *ctx)
{
	struct task_struct *p = (void *)ctx[0];
	struct thread *t = thread_of(p);
	struct call *c = call_of(t);
	u64 now = bpf_ktime_get_ns(), slice = slice_of(c), since = now;
	u32 tier = tier_of(c);

	if (t) {
		if (t->ran >= slice) {
			t->since = now;
			t->ran = 0;
		}
		t->queued = now;
		since = t->since;
	}
	scx_bpf_dsq_insert_vtime(p, tier, left(t, slice), key_of(c, since), ctx[1]);
	claim(p, tier);
}

// head is the least key of a queue.
static u64 head(u32 tier)
{
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;
	u64 key = ~0ULL;

	bpf_iter_scx_dsq_new(&it, tier, 0);
	p = bpf_iter_scx_dsq_next(&it);
	if (p)
		key = p->scx.dsq_vtime;
	bpf_iter_scx_dsq_destroy(&it);
	return key;
}

SEC("struct_ops/dispatch")
void tiers_dispatch(u64 *ctx)
{
	struct task_struct *prev = (void *)ctx[1];
	struct seat *seat = seat_of(ctx[0]);
	u64 now = bpf_ktime_get_ns(), slice = 0;
	struct thread *t = 0;
	struct call *c = 0;
	u32 has = NOBODY;
	bool spent = true;

	if (prev && prev->scx.flags & SCX_TASK_QUEUED) { // it wants to go on
		t = thread_of(prev);
		c = call_of(t);
		has = tier_of(c);
		slice = slice_of(c);
		spent = !t || t->ran + (now - t->start) >= slice;
	}
	for (u32 tier = NORMAL; tier <= BATCH; tier++)
		if (owed(tier, ctx[0], now) && scx_bpf_dsq_move_to_local(tier)) {
			*turned_at(tier) = now;
			seat->next = true;
			return;
		}
	for (u32 tier = EXPRESS; tier <= BATCH && tier <= has; tier++) {
		if (tier == has && (!spent || head(tier) > key_of(c, now)))
			break;
		if (scx_bpf_dsq_move_to_local(tier))
			return;
	}
	if (has == NOBODY)
		return;
	if (t) {
		u64 ran = now - t->start;

		if (c)
			__sync_fetch_and_add(&c->used, ran);
		t->ran += ran;
		t->start = now;
		if (spent) {
			t->ran = 0;
			t->since = now;
		}
	}
	seat->tier = has;
	set_slice(prev, left(t, slice));
}

SEC("struct_ops/tick")
void tiers_tick(u64 *ctx)
{
	struct task_struct *p = (void *)ctx[0];
	s32 cpu = bpf_get_smp_processor_id();
	u64 now = bpf_ktime_get_ns();
	u32 has = tier_of(call_of(thread_of(p)));
	bool yield = false;

	if (seat_of(cpu)->turn)
		return;
	for (u32 tier = EXPRESS; tier <= BATCH; tier++)
		yield |= tier < has ? scx_bpf_dsq_nr_queued(tier) > 0 : tier != has && owed(tier, cpu, now);
	if (yield)
		set_slice(p, 0);
}

SEC("struct_ops/runnable")
void tiers_runnable(u64 *ctx)
{
	struct thread *t = bpf_task_storage_get(&threads, (void *)ctx[0], 0, BPF_STORAGE_CREATE);

	if (t) {
		t->since = bpf_ktime_get_ns();
		t->ran = 0;
	}
}

SEC("struct_ops/running")
void tiers_running(u64 *ctx)
{
	struct task_struct *p = (void *)ctx[0];
	struct seat *seat = seat_of(bpf_get_smp_processor_id());
	struct thread *t = thread_of(p);

	seat->turn = seat->next;
	seat->next = false;
	seat->call = t ? t->call : 0;
	seat->tier = seat->turn ? NOTHING : tier_of(call_of(t));
	if (seat->turn && p->scx.slice > TURN)
		set_slice(p, TURN);
	if (t)
		t->start = bpf_ktime_get_ns();
}

SEC("struct_ops/stopping")
void tiers_stopping(u64 *ctx)
{
	struct seat *seat = seat_of(bpf_get_smp_processor_id());
	struct thread *t = thread_of((void *)ctx[0]);
	struct call *c = call_of(t);
	u64 ran;

	seat->call = 0;
	seat->tier = NOTHING;
	seat->turn = false;
	if (!t)
		return;
	ran = bpf_ktime_get_ns() - t->start;
	t->ran += ran;
	if (c)
		__sync_fetch_and_add(&c->used, ran);
}

// An ordinary program takes the core: who waits for it may find another.
SEC("struct_ops/cpu_release")
void tiers_cpu_release(u64 *ctx)
{
	seat_of(ctx[0])->next = false;
	scx_bpf_reenqueue_local();
}

// What a thread of a call makes belongs to that call.
SEC("struct_ops.s/init_task")
s32 tiers_init_task(u64 *ctx)
{
	struct task_struct *p = (void *)ctx[0];
	struct scx_init_task_args *args = (void *)ctx[1];
	struct thread *parent, *child;

	if (!args->fork)
		return 0;
	parent = bpf_task_storage_get(&threads, bpf_get_current_task_btf(), 0, 0);
	if (!parent)
		return 0;
	child = bpf_task_storage_get(&threads, p, 0, BPF_STORAGE_CREATE);
	if (child)
		child->call = parent->call;
	return 0;
}

SEC("struct_ops.s/init")
s32 tiers_init(u64 *ctx)
{
	s32 err = scx_bpf_create_dsq(EXPRESS, -1);

	if (!err)
		err = scx_bpf_create_dsq(NORMAL, -1);
	if (!err)
		err = scx_bpf_create_dsq(BATCH, -1);
	return err;
}

SEC("struct_ops/exit")
void tiers_exit(u64 *ctx)
{
	struct scx_exit_info *info = (void *)ctx[0];
	struct farewell f = {};

	bpf_probe_read_kernel_str(f.reason, sizeof(f.reason), info->reason);
	bpf_probe_read_kernel_str(f.message, sizeof(f.message), info->msg);
	bpf_ringbuf_output(&ended, &f, sizeof(f), 0);
}

// place moves a call: its threads that wait change the queue, and those that run make room
// if somebody waits who goes before them. The loader calls it.
SEC("syscall")
s32 place(struct request *r)
{
	u64 id = r->call;
	struct call *c = bpf_map_lookup_elem(&calls, &id);
	struct bpf_iter_scx_dsq queue;
	struct bpf_iter_num it;
	struct task_struct *p;
	u32 from, to;
	int *cpu;

	if (!c)
		return -2; // ENOENT
	from = tier_of(c);
	c->place = r->place;
	to = tier_of(c);
	if (from == to)
		return 0;
	bpf_rcu_read_lock();
	bpf_iter_scx_dsq_new(&queue, from, 0);
	while ((p = bpf_iter_scx_dsq_next(&queue))) {
		struct thread *t = thread_of(p);

		if (!t || t->call != id)
			continue;
		scx_bpf_dsq_move_set_vtime(&queue, key_of(c, t->since));
		if (scx_bpf_dsq_move_vtime(&queue, p, to, 0))
			claim(p, to);
	}
	bpf_iter_scx_dsq_destroy(&queue);
	bpf_iter_num_new(&it, 0, cores);
	while ((cpu = bpf_iter_num_next(&it))) {
		struct seat *seat = seat_of(*cpu);

		if (seat->call != id || seat->turn)
			continue;
		seat->tier = to;
		if (to > from)
			scx_bpf_kick_cpu(*cpu, SCX_KICK_PREEMPT);
	}
	bpf_iter_num_destroy(&it);
	bpf_rcu_read_unlock();
	return 0;
}

SEC(".struct_ops.link")
struct sched_ext_ops tiers = {
	.select_cpu = (void *)tiers_select_cpu,
	.enqueue = (void *)tiers_enqueue,
	.dispatch = (void *)tiers_dispatch,
	.tick = (void *)tiers_tick,
	.runnable = (void *)tiers_runnable,
	.running = (void *)tiers_running,
	.stopping = (void *)tiers_stopping,
	.cpu_release = (void *)tiers_cpu_release,
	.init_task = (void *)tiers_init_task,
	.init = (void *)tiers_init,
	.exit = (void *)tiers_exit,
	.flags = SCX_OPS_SWITCH_PARTIAL,
	.timeout_ms = 30000,
	.name = "weft",
};

char granted[] SEC("license") = "GPL";
