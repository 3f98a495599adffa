/*
 * session.bpf.c - what one tracing session is about: its window, its processes, its counters.
 *
 * The parts of the tracer are compiled as one program, in the order of PARTS in program.py; a
 * session loads the functions of its kind, with the tables that they use. Configured by -D:
 * MAX_FRAMES, the sizes of the tables (MAX_...), PAGE_BYTES, and the service's pid namespace as
 * PID_NAMESPACE_DEVICE and PID_NAMESPACE_INODE.
 */
#include <linux/ptrace.h>

#define FIRST_PID_NAMESPACE_INODE 0xEFFFFFFCU /* the same on every machine */

/* Order and names are repeated in protocol.py as COUNTERS; a test holds the two together. */
enum counter {
	FREES_FROM_BEFORE,   /* free() of a block that was allocated before the window opened */
	RETURNS_FROM_BEFORE, /* an allocation that was already under way when the window opened */
	FAILED_ALLOCATIONS,  /* the allocator said NULL: nothing to record, nothing lost */
	FAILED_MAPPINGS,     /* the same from mmap or mremap */
	LOST_BLOCKS_FULL,    /* an allocation not recorded: MAX_BLOCKS reached */
	LOST_STACKS_FULL,    /* an allocation not recorded: MAX_STACKS reached */
	LOST_THREADS_FULL,   /* a call not recorded: MAX_THREADS reached */
	LOST_UNWOUND,        /* a call that never returned: the program jumped out of it */
	LOST_INTERRUPTED, /* a call in a signal handler, in a call in a signal handler, in a call */
	LOST_UNSEEN,      /* an operator new that can't be probed without harm */
	LOST_UNREADABLE,  /* an argument or a return address that could not be read */
	LOST_RACED,       /* two blocks at one address: events seen out of order */
	LOST_MAPPINGS_FULL,  /* a mapping not recorded: more than the service could take in time */
	LOST_PROCESSES_FULL, /* a child not followed: MAX_PROCESSES reached */
	LOST_FAULTS_FULL,    /* a page fault not recorded: MAX_FAULTS reached */
	LOST_CALLS_FULL,     /* a system call not recorded: MAX_MEMORY_CALLS reached */
	LOST_UNMATCHED,      /* a fault or a system call of which one end was not seen */
	COUNTERS_LEN,
};

enum window_state {
	CLOSED,     /* nothing counts */
	OPEN,       /* everything counts */
	FREES_ONLY, /* what was allocated in the window is followed to its end; nothing new counts
		     */
};

struct span {
	u64 start;
	u64 end;
};

/* Written by the service; program.py's Session packs it. */
struct session {
	u32 state;
	u32 target; /* process id, in the service's pid namespace */
	u32 window; /* number of the window that is open, from 0 */
	u32 follows_forks;
	u32 frees_nest; /* more than one function of the process frees, and one may call another */
	u32 padding;
	u64 sample_bytes; /* 0: every block; else one sample per so many bytes */
	struct span allocators[MAX_ALLOCATORS]; /* where the allocators' code lies */
};

/* What the target has gone through; apart from the session, because only the kernel writes it. */
struct fate {
	u32 has_executed;   /* it has become another program: nothing of that one is ours */
	u32 leader_is_gone; /* its first thread has ended, and with it the kernel's filter */
};

/* A process that is followed; the target has the number 0. Only where forks are followed. */
struct process {
	u64 number;
	u32 pid; /* in the service's pid namespace; 0 until its first event */
	u32 has_executed;
};

/* The tracepoints of the system calls, as /sys/kernel/tracing/events/syscalls/.../format says. */
struct call_enter {
	u64 common;
	u64 number;
	u64 arguments[6];
};

struct call_exit {
	u64 common;
	u64 number;
	s64 result;
};

BPF_TABLE("array", u32, struct session, session, 1);
BPF_TABLE("array", u32, struct fate, fate, 1);
BPF_TABLE("hash", u32, struct process, processes, MAX_PROCESSES); /* by the kernel's own tgid */
BPF_TABLE("percpu_array", u32, u64, counters, COUNTERS_LEN);

static __always_inline void count(u32 which)
{
	u64 *value = counters.lookup(&which);
	if (value)
		__sync_fetch_and_add(value, 1);
}

/*
 * The session, if its window is not closed. Whoever asks whether it is NULL has to ask that: left
 * free, the compiler asks for the state a second time, and the verifiers of older kernels (6.1)
 * don't see that the answer must be the same.
 */
static __always_inline struct session *find_session(void)
{
	u32 zero = 0;
	struct session *now = session.lookup(&zero);

	if (now && now->state == CLOSED)
		now = NULL;
	asm volatile("" : "+r"(now));
	return now;
}

/*
 * Whether the current process is the target; its ids in the service's namespace in any case. Where
 * that is the machine's first, they are the kernel's own, also for a process in a container.
 */
static __always_inline int is_target(struct session *now, struct bpf_pidns_info *current_process)
{
	if (PID_NAMESPACE_INODE == FIRST_PID_NAMESPACE_INODE) {
		u64 ids = bpf_get_current_pid_tgid();
		current_process->pid = ids;
		current_process->tgid = ids >> 32;
		return current_process->tgid == now->target;
	}
	return !bpf_get_ns_current_pid_tgid(PID_NAMESPACE_DEVICE, PID_NAMESPACE_INODE,
		       current_process, sizeof(*current_process)) &&
	       current_process->tgid == now->target;
}

/* The current process's entry among the followed ones; the target's is made at its first event. */
static __always_inline struct process *find_followed(struct session *now)
{
	u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct bpf_pidns_info ids = {};
	struct process *found = processes.lookup(&tgid);

	if (found && found->pid)
		return found;
	if (found) {
		is_target(now, &ids);
		found->pid = ids.tgid;
	} else if (is_target(now, &ids)) {
		struct process target = { .pid = ids.tgid };
		processes.insert(&tgid, &target);
		found = processes.lookup(&tgid);
	}
	return found;
}

/*
 * Whether the current process is traced, and as which number. Without following, a probe fires in
 * the target's memory only, and a tracepoint everywhere.
 */
static __always_inline int is_traced(struct session *now, int is_tracepoint, u64 *number)
{
	struct bpf_pidns_info ids = {};
	struct process *found;

	*number = 0;
	if (!now->follows_forks)
		return !is_tracepoint || is_target(now, &ids);
	found = find_followed(now);
	if (!found || found->has_executed)
		return 0;
	*number = found->number;
	return 1;
}
