//go:build ignore

// What tiers.c uses of the kernel: the types with the members that it reads, found by name
// when the program is loaded, the helpers by their numbers (bpf.h) and the functions of
// sched_ext by their names (Documentation/scheduler/sched-ext.rst).

typedef signed int s32;
typedef signed long long s64;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef _Bool bool;

enum { false, true };

#define SEC(name) __attribute__((section(name), used))
#define KERNEL __attribute__((preserve_access_index))
#define FUNC extern __attribute__((section(".ksyms")))
#define MAYBE FUNC __attribute__((weak)) // not in every kernel: its address is 0 there

struct cpumask {
	unsigned long bits[1];
} KERNEL;

struct sched_ext_entity {
	u32 flags;
	u64 slice, dsq_vtime;
} KERNEL;

struct task_struct {
	struct sched_ext_entity scx;
	const struct cpumask *cpus_ptr;
} KERNEL;

struct scx_init_task_args {
	bool fork;
} KERNEL;

struct scx_exit_info {
	const char *reason;
	char *msg;
} KERNEL;

// struct sched_ext_ops has the members that are set; the loader puts them where the kernel has them.
struct sched_ext_ops {
	void *select_cpu, *enqueue, *dispatch, *tick, *runnable, *running, *stopping, *cpu_release, *init_task, *init, *exit;
	u64 flags;
	u32 timeout_ms;
	char name[128];
};

enum {
	SCX_TASK_QUEUED = 1,
	SCX_OPS_SWITCH_PARTIAL = 8,
	SCX_KICK_IDLE = 1,
	SCX_KICK_PREEMPT = 2,
};
#define SCX_DSQ_LOCAL (1ULL << 63 | 2)

struct bpf_iter_num {
	u64 opaque[1];
};

struct bpf_iter_scx_dsq {
	u64 opaque[6];
};

struct cpumask described; // without a variable the compiler tells the loader only that there is such a type

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static u32 (*bpf_get_smp_processor_id)(void) = (void *)8;
static long (*bpf_probe_read_kernel_str)(void *to, u32 size, const void *from) = (void *)115;
static long (*bpf_ringbuf_output)(void *map, void *data, u64 size, u64 flags) = (void *)130;
static void *(*bpf_task_storage_get)(void *map, struct task_struct *p, void *value, u64 flags) = (void *)156;
static struct task_struct *(*bpf_get_current_task_btf)(void) = (void *)158;
enum { BPF_STORAGE_CREATE = 1 };

FUNC int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end);
FUNC int *bpf_iter_num_next(struct bpf_iter_num *it);
FUNC void bpf_iter_num_destroy(struct bpf_iter_num *it);
FUNC void bpf_rcu_read_lock(void);
FUNC void bpf_rcu_read_unlock(void);
FUNC bool bpf_cpumask_test_cpu(u32 cpu, const struct cpumask *mask);

FUNC s32 scx_bpf_create_dsq(u64 queue, s32 node);
FUNC s32 scx_bpf_select_cpu_dfl(struct task_struct *p, s32 last, u64 flags, bool *idle);
FUNC s32 scx_bpf_pick_idle_cpu(const struct cpumask *of, u64 flags);
FUNC void scx_bpf_kick_cpu(s32 cpu, u64 flags);
FUNC void scx_bpf_dsq_insert(struct task_struct *p, u64 queue, u64 slice, u64 flags);
FUNC void scx_bpf_dsq_insert_vtime(struct task_struct *p, u64 queue, u64 slice, u64 vtime, u64 flags);
FUNC bool scx_bpf_dsq_move_to_local(u64 queue);
FUNC s32 scx_bpf_dsq_nr_queued(u64 queue);
FUNC u32 scx_bpf_reenqueue_local(void);
FUNC int bpf_iter_scx_dsq_new(struct bpf_iter_scx_dsq *it, u64 queue, u64 flags);
FUNC struct task_struct *bpf_iter_scx_dsq_next(struct bpf_iter_scx_dsq *it);
FUNC void bpf_iter_scx_dsq_destroy(struct bpf_iter_scx_dsq *it);
FUNC void scx_bpf_dsq_move_set_vtime(struct bpf_iter_scx_dsq *it, u64 vtime);
FUNC bool scx_bpf_dsq_move_vtime(struct bpf_iter_scx_dsq *it, struct task_struct *p, u64 queue, u64 flags);
MAYBE bool scx_bpf_task_set_slice(struct task_struct *p, u64 slice); // from 6.19 on
