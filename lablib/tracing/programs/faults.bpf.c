/*
 * faults.bpf.c - which pages a process faults on, and from where: each fault that the kernel
 * counts.
 *
 * A fault is a transaction. At its begin (the tracepoints page_fault_user and page_fault_kernel)
 * the processor says what was tried, and the stack is walked. It commits where the kernel adds one
 * to the thread's minor or major faults (the software events of these names): a touch that ends in
 * a signal is none, nor one that a system call tries with faults switched off and then makes again.
 * The kernel's own tries to get a page in, such as those after VM_FAULT_RETRY, lie in between.
 *
 * The kernel counts one fault for as much as it maps: for a huge page one for 512 pages, and for a
 * file up to 16 pages that are in memory around the one that was touched. What it maps without a
 * fault (MAP_POPULATE, mlock) or for another process (ptrace) is not seen.
 */
#include <uapi/linux/bpf_perf_event.h>

/* In the lower bits of a page's address; protocol.py's FAULT_FLAGS. */
enum fault_sort {
	IS_WRITE = 1,
	IS_INSTRUCTION = 2,
	WAS_PRESENT = 4,
	BY_KERNEL = 8,
	IS_MAJOR = 16,
};

#if defined(__x86_64__)
#define FAULT_FLAGS(code)                                                                          \
	(((code) & 2 ? IS_WRITE : 0) | ((code) & 16 ? IS_INSTRUCTION : 0) |                        \
		((code) & 1 ? WAS_PRESENT : 0))
#else
#define FAULT_FLAGS(code) 0 /* no such tracepoint: a session is refused */
#endif

/*
 * How many begins are kept: of the fault under way, and of those on top of it that won't commit. A
 * program that reads a thread's stack, as this one and those of other sessions do, may hit a page
 * that is not there.
 */
#define MAX_NESTED 4

struct fault_begin {
	u64 page;
	u64 flags;
	u64 stack_id;
	u64 stack_pointer; /* where it happened: tells nested faults apart; 0: none is under way */
};

struct thread_faults {
	u64 next;
	u64 is_touching; /* the program itself faults, and nothing has come of it yet */
	struct fault_begin begins[MAX_NESTED];
};

struct fault_key {
	u64 page_and_flags;
	u64 stack_id;
};

/* protocol.py's FAULT_FIELDS are the words of the key and of this. */
struct fault {
	u64 count;
	u64 first_ns;
};

struct fault_walk {
	u64 is_under_way;
	struct stack_copy copy;
	struct stack fresh;
};

/* Both have room set aside: older kernels let no other table into the program of a software event.
 */
BPF_TABLE("hash", u64, struct thread_faults, thread_faults, MAX_THREADS);
BPF_TABLE("hash", struct fault_key, struct fault, faults, MAX_FAULTS);
BPF_TABLE("percpu_array", u32, struct fault_walk, fault_walk, 1);

static __always_inline struct thread_faults *find_or_add_thread(u64 thread)
{
	struct thread_faults *found = thread_faults.lookup(&thread), blank = {};

	if (found)
		return found;
	thread_faults.insert(&thread, &blank);
	return thread_faults.lookup(&thread);
}

/*
 * The id of the stack that faults, 0 if it can't be kept. Rules and names are looked up for what is
 * before a return address; where the program itself faults, that is the faulting instruction.
 */
static __always_inline u64 read_faulting_stack(
	struct session *now, struct fault_walk *walk, int is_by_kernel)
{
	struct registers own = {};
	u64 stack_id;

	if (read_own_registers(&own)) {
		count(LOST_UNREADABLE);
		return 0;
	}
	own.pc += !is_by_kernel;
	stack_id = walk_stack(now, &own, 0, 0, &walk->copy, &walk->fresh);
	if (find_or_add_stack(stack_id, &walk->fresh) >= 0)
		return stack_id;
	count(LOST_STACKS_FULL);
	return 0;
}

static __always_inline int begin_fault(struct bpf_raw_tracepoint_args *ctx, u64 flags)
{
	u64 thread = (u32)bpf_get_current_pid_tgid(), stack_id, stack_pointer = 0;
	struct pt_regs *regs = (struct pt_regs *)ctx->args[1];
	struct session *now = find_session();
	struct bpf_pidns_info ids = {};
	struct thread_faults *faulting;
	struct fault_begin *begin;
	struct fault_walk *walk;
	u32 zero = 0;

	if (!now || !is_target(now, &ids))
		return 0;
	walk = fault_walk.lookup(&zero);
	if (!walk || walk->is_under_way)
		return 0; /* our own reading of a stack: not the process's fault */
	faulting = find_or_add_thread(thread);
	if (!faulting) {
		count(LOST_THREADS_FULL);
		return 0;
	}
	if (!(flags & BY_KERNEL)) {
		if (faulting->is_touching)
			count(LOST_UNMATCHED);
		faulting->is_touching = 1;
	}
	walk->is_under_way = 1;
	stack_id = read_faulting_stack(now, walk, !!(flags & BY_KERNEL));
	walk->is_under_way = 0;
	bpf_probe_read_kernel(&stack_pointer, sizeof(stack_pointer), &PT_REGS_SP(regs));
	begin = &faulting->begins[faulting->next++ & (MAX_NESTED - 1)];
	begin->page = ctx->args[0] & ~(u64)(PAGE_BYTES - 1);
	begin->flags = flags | FAULT_FLAGS(ctx->args[2]);
	begin->stack_id = stack_id;
	begin->stack_pointer = stack_pointer;
	return 0;
}

int on_user_fault(struct bpf_raw_tracepoint_args *ctx)
{
	return begin_fault(ctx, 0);
}

int on_kernel_fault(struct bpf_raw_tracepoint_args *ctx)
{
	return begin_fault(ctx, BY_KERNEL);
}

/* The last begin of this fault. */
static __always_inline struct fault_begin *find_begin(
	struct thread_faults *faulting, u64 page, u64 stack_pointer)
{
	for (u64 i = 1; i <= MAX_NESTED; i++) {
		struct fault_begin *begin =
			&faulting->begins[(faulting->next - i) & (MAX_NESTED - 1)];
		if (begin->page == page && begin->stack_pointer == stack_pointer)
			return begin;
	}
	return NULL;
}

static __always_inline void record_fault(struct fault_begin *begin, u64 flags)
{
	struct fault_key key = { begin->page | begin->flags | flags, begin->stack_id };
	struct fault *known = faults.lookup(&key), first = { 1, bpf_ktime_get_ns() };

	if (!known) {
		if (!faults.insert(&key, &first))
			return;
		known = faults.lookup(&key); /* another thread may have been first */
	}
	if (known)
		__sync_fetch_and_add(&known->count, 1);
	else
		count(LOST_FAULTS_FULL);
}

static __always_inline int commit_fault(struct bpf_perf_event_data *ctx, u64 flags)
{
	u64 thread = (u32)bpf_get_current_pid_tgid();
	struct thread_faults *faulting = thread_faults.lookup(&thread);
	struct session *now = find_session();
	struct bpf_pidns_info ids = {};
	struct fault_begin *begin;

	if (!faulting || !now || !is_target(now, &ids))
		return 0; /* or it began before the window */
	begin = find_begin(faulting, ctx->addr & ~(u64)(PAGE_BYTES - 1), PT_REGS_SP(&ctx->regs));
	if (!begin) {
		count(LOST_UNMATCHED);
		return 0;
	}
	if (begin->stack_id)
		record_fault(begin, flags);
	if (!(begin->flags & BY_KERNEL))
		faulting->is_touching = 0;
	begin->stack_pointer = 0;
	return 0;
}

int on_minor_fault(struct bpf_perf_event_data *ctx)
{
	return commit_fault(ctx, 0);
}

int on_major_fault(struct bpf_perf_event_data *ctx)
{
	return commit_fault(ctx, IS_MAJOR);
}

/*
 * A touch of the program's own that does not commit ends in a signal, or is interrupted by one and
 * made again. If neither was seen, the kernel has left out our program: it does where another one
 * is in its way.
 */
int on_signal(struct bpf_raw_tracepoint_args *ctx)
{
	u64 thread = (u32)bpf_get_current_pid_tgid();
	struct thread_faults *faulting = thread_faults.lookup(&thread);

	if (faulting)
		faulting->is_touching = 0;
	return 0;
}
