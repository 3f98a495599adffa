/*
 * heap.bpf.c - who holds how many bytes of a process's heap, per call stack, exactly.
 *
 * Every allocator call is a transaction: it opens at the entry probe, where the arguments and the
 * stack are readable, and commits at the return probe, where the outcome is known. Only the
 * outermost call of a thread counts, so realloc(NULL, n), which jumps into malloc, is one block.
 *
 * Live bytes are kept per stack as two totals that only grow (allocated, freed). A snapshot reads
 * those few totals; the table of blocks is never walked.
 *
 * Configured by -D: MAX_FRAMES, MAX_STACKS, MAX_BLOCKS, MAX_THREADS, and the service's pid
 * namespace as PID_NAMESPACE_DEVICE and PID_NAMESPACE_INODE.
 */
#include <linux/ptrace.h>

enum call_kind { MALLOC, CALLOC, REALLOC, ALIGNED, POSIX_MEMALIGN };

/* Order and names are repeated in protocol.py as COUNTERS; a test holds the two together. */
enum counter {
	FREES_FROM_BEFORE,   /* free() of a block that was allocated before the window opened */
	RETURNS_FROM_BEFORE, /* an allocation that was already under way when the window opened */
	FAILED_ALLOCATIONS,  /* the allocator said NULL: nothing to record, nothing lost */
	LOST_BLOCKS_FULL,    /* an allocation not recorded: MAX_BLOCKS reached */
	LOST_STACKS_FULL,    /* an allocation not recorded: MAX_STACKS reached */
	LOST_THREADS_FULL,   /* a call not recorded: MAX_THREADS reached */
	LOST_UNWOUND,        /* a call that never returned: the program jumped out of it */
	LOST_UNREADABLE,     /* an argument or a return address that could not be read */
	LOST_RACED,          /* two blocks at one address: events seen out of order */
	COUNTERS_LEN,
};

struct block {
	u64 size_bytes;
	u64 stack_id;
	u64 born_ns;
};

/* One row of a snapshot; protocol.py's STACK_FIELDS are its first words. */
struct stack_usage {
	u64 allocated_bytes;
	u64 allocated_blocks;
	u64 freed_bytes;
	u64 freed_blocks;
	u64 live_born_sum_ns; /* sum of birth times of the live blocks: gives their mean age */
	u64 depth;
	u64 frames[MAX_FRAMES]; /* return addresses, the allocator's caller first */
};

/* What one thread is doing inside the allocator. */
struct call {
	u64 nesting;       /* 0: not inside; 1: in the call that counts; more: inside its helpers */
	u64 stack_pointer; /* at the outermost entry: tells a stale call from a nested one */
	u64 kind;
	u64 size_bytes;
	u64 out_address; /* posix_memalign: where the result will be written */
	u64 old_address; /* realloc: the block that it was given */
	u64 has_old_block;
	struct block old_block;
	u64 stack_id;
	struct stack_usage fresh; /* counters stay 0; the first sight of a stack copies it */
};

struct session {
	u32 is_open;
	u32 target; /* process id, in the service's pid namespace */
};

/* What the target has gone through; apart from the session, because only the kernel writes it. */
struct fate {
	u32 has_executed;   /* it has become another program: nothing of that one is ours */
	u32 leader_is_gone; /* its first thread has ended, and with it the kernel's filter */
};

BPF_TABLE("array", u32, struct session, session, 1);
BPF_TABLE("array", u32, struct fate, fate, 1);
BPF_TABLE("percpu_array", u32, u64, counters, COUNTERS_LEN);
BPF_TABLE("array", u32, struct call, blank_call, 1); /* always zero: too big for BPF's stack */
BPF_TABLE("hash", u32, struct call, calls, MAX_THREADS);
BPF_TABLE("hash", u64, struct stack_usage, stacks, MAX_STACKS);
BPF_F_TABLE("hash", u64, struct block, blocks, MAX_BLOCKS, BPF_F_NO_PREALLOC);

#if defined(__x86_64__)
#define FRAME_POINTER(ctx) ((ctx)->bp)
#define STRIP_SIGNATURE(address) (address)
#elif defined(__aarch64__)
#define FRAME_POINTER(ctx) ((ctx)->regs[29])
/* With pointer authentication the upper bits of a saved return address are a signature. */
#define STRIP_SIGNATURE(address) ((address) & ((1ULL << 48) - 1))
#else
#error "heap.bpf.c knows the frame pointer of x86_64 and aarch64 only"
#endif

#define MAX_FRAME_BYTES (8ULL << 20)

static __always_inline void count(u32 which)
{
	u64 *value = counters.lookup(&which);
	if (value)
		__sync_fetch_and_add(value, 1);
}

static __always_inline int is_open(void)
{
	u32 zero = 0;
	struct session *now = session.lookup(&zero);
	return now && now->is_open;
}

/* The session, if the current process is its target. */
static __always_inline struct session *of_target(struct bpf_pidns_info *current_process)
{
	u32 zero = 0;
	struct session *now = session.lookup(&zero);

	if (!now || bpf_get_ns_current_pid_tgid(PID_NAMESPACE_DEVICE, PID_NAMESPACE_INODE,
			    current_process, sizeof(*current_process)))
		return NULL;
	return current_process->tgid == now->target ? now : NULL;
}

static __always_inline u64 mix(u64 hash, u64 address)
{
	hash = (hash ^ address) * 0x9E3779B97F4A7C15ULL;
	return hash ^ (hash >> 29);
}

/* At the first instruction of a function: the address that it will return to. */
static __always_inline int read_return_address(struct pt_regs *ctx, u64 *address)
{
#if defined(__x86_64__)
	return bpf_probe_read_user(address, sizeof(*address), (void *)PT_REGS_SP(ctx));
#else
	*address = ctx->regs[30];
	return 0;
#endif
}

/*
 * Follow the chain of frame pointers. The direct caller is always right; above it the chain holds
 * as far as the code was built with frame pointers. What isn't a plausible frame ends the walk,
 * and the client cuts whatever does not lie in code.
 */
static __always_inline int walk_stack(struct pt_regs *ctx, struct call *call)
{
	struct {
		u64 next;
		u64 return_address;
	} frame;
	u64 lowest = PT_REGS_SP(ctx), at = FRAME_POINTER(ctx), address = 0, hash;

	if (read_return_address(ctx, &address))
		return -1;
	call->fresh.frames[0] = address;
	call->fresh.depth = 1;
	hash = mix(0, address);
	for (int i = 1; i < MAX_FRAMES; i++) {
		if (at < lowest || at - lowest > MAX_FRAME_BYTES || (at & 15))
			break;
		if (bpf_probe_read_user(&frame, sizeof(frame), (void *)at) || !frame.return_address)
			break;
		frame.return_address = STRIP_SIGNATURE(frame.return_address);
		call->fresh.frames[i] = frame.return_address;
		call->fresh.depth = i + 1;
		hash = mix(hash, frame.return_address);
		lowest = at + sizeof(frame);
		at = frame.next;
	}
	call->stack_id = hash;
	return 0;
}

static __always_inline void account_freed(const struct block *block)
{
	u64 stack_id = block->stack_id;
	struct stack_usage *usage = stacks.lookup(&stack_id);
	if (!usage)
		return;
	__sync_fetch_and_add(&usage->freed_bytes, block->size_bytes);
	__sync_fetch_and_add(&usage->freed_blocks, 1);
	__sync_fetch_and_add(&usage->live_born_sum_ns, -block->born_ns);
}

/* Put a block on record; an older record at its address belongs to a block that must be gone. */
static __always_inline int insert_block(u64 address, struct block *block)
{
	struct block *stale, gone;

	if (!blocks.insert(&address, block))
		return 0;
	stale = blocks.lookup(&address);
	if (!stale)
		return -1;
	gone = *stale;
	if (blocks.update(&address, block))
		return -1;
	count(LOST_RACED);
	account_freed(&gone);
	return 0;
}

/* Open a transaction; NULL when this call is nested in another, or can't be recorded. */
static __always_inline struct call *enter(struct pt_regs *ctx, u64 kind)
{
	u32 thread = bpf_get_current_pid_tgid();
	struct call *call;

	if (!is_open())
		return NULL;
	call = calls.lookup(&thread);
	if (!call) {
		u32 zero = 0;
		struct call *blank = blank_call.lookup(&zero);
		if (blank)
			calls.insert(&thread, blank);
		call = calls.lookup(&thread);
		if (!call) {
			count(LOST_THREADS_FULL);
			return NULL;
		}
	}
	if (call->nesting) {
		if (PT_REGS_SP(ctx) <= call->stack_pointer) {
			call->nesting++;
			return NULL;
		}
		count(LOST_UNWOUND);
		if (call->has_old_block) /* its realloc never came to an end */
			insert_block(call->old_address, &call->old_block);
	}
	call->nesting = 1;
	call->stack_pointer = PT_REGS_SP(ctx);
	call->kind = kind;
	call->has_old_block = 0;
	call->old_address = 0;
	if (walk_stack(ctx, call)) {
		count(LOST_UNREADABLE);
		call->nesting = 0;
		return NULL;
	}
	return call;
}

static __always_inline struct stack_usage *find_or_add_stack(struct call *call)
{
	u64 stack_id = call->stack_id;
	struct stack_usage *usage = stacks.lookup(&stack_id);
	if (usage)
		return usage;
	/* Another thread may be first; then this fails, and both find the same one. */
	stacks.insert(&stack_id, &call->fresh);
	return stacks.lookup(&stack_id);
}

static __always_inline void record_allocation(struct call *call, u64 address)
{
	struct block block = {};
	struct stack_usage *usage = find_or_add_stack(call);

	if (!usage) {
		count(LOST_STACKS_FULL);
		return;
	}
	block.size_bytes = call->size_bytes;
	block.stack_id = call->stack_id;
	block.born_ns = bpf_ktime_get_ns();
	if (insert_block(address, &block)) {
		count(LOST_BLOCKS_FULL);
		return;
	}
	__sync_fetch_and_add(&usage->allocated_bytes, block.size_bytes);
	__sync_fetch_and_add(&usage->allocated_blocks, 1);
	__sync_fetch_and_add(&usage->live_born_sum_ns, block.born_ns);
}

static __always_inline void commit_old_block(struct call *call)
{
	if (call->has_old_block)
		account_freed(&call->old_block);
	else if (call->old_address)
		count(FREES_FROM_BEFORE);
}

static __always_inline void commit_failure(struct call *call)
{
	if (call->kind == REALLOC && call->old_address && call->size_bytes == 0) {
		commit_old_block(call); /* realloc(p, 0) is glibc's other way to say free(p) */
		return;
	}
	count(FAILED_ALLOCATIONS);
	if (call->has_old_block && insert_block(call->old_address, &call->old_block))
		count(LOST_BLOCKS_FULL);
}

int on_malloc(struct pt_regs *ctx)
{
	struct call *call = enter(ctx, MALLOC);
	if (call)
		call->size_bytes = PT_REGS_PARM1(ctx);
	return 0;
}

int on_calloc(struct pt_regs *ctx)
{
	struct call *call = enter(ctx, CALLOC);
	if (call)
		call->size_bytes = PT_REGS_PARM1(ctx) * PT_REGS_PARM2(ctx);
	return 0;
}

int on_aligned(struct pt_regs *ctx) /* memalign and aligned_alloc: (alignment, size) */
{
	struct call *call = enter(ctx, ALIGNED);
	if (call)
		call->size_bytes = PT_REGS_PARM2(ctx);
	return 0;
}

int on_posix_memalign(struct pt_regs *ctx) /* (&result, alignment, size) */
{
	struct call *call = enter(ctx, POSIX_MEMALIGN);
	if (call) {
		call->out_address = PT_REGS_PARM1(ctx);
		call->size_bytes = PT_REGS_PARM3(ctx);
	}
	return 0;
}

/*
 * The old block leaves the table at the entry: inside realloc its address may be freed and handed
 * to another thread before this call returns. It comes back if realloc fails.
 */
int on_realloc(struct pt_regs *ctx)
{
	struct call *call = enter(ctx, REALLOC);
	struct block *old;
	u64 address;

	if (!call)
		return 0;
	address = PT_REGS_PARM1(ctx);
	call->size_bytes = PT_REGS_PARM2(ctx);
	call->old_address = address;
	old = blocks.lookup(&address);
	if (old) {
		call->old_block = *old;
		call->has_old_block = 1;
		blocks.delete(&address);
	}
	return 0;
}

int on_return(struct pt_regs *ctx)
{
	u32 thread = bpf_get_current_pid_tgid();
	struct call *call;
	u64 address = PT_REGS_RC(ctx);

	if (!is_open())
		return 0;
	call = calls.lookup(&thread);
	if (!call || !call->nesting) {
		count(RETURNS_FROM_BEFORE);
		return 0;
	}
	if (--call->nesting)
		return 0;
	if (call->kind == POSIX_MEMALIGN) {
		if (address) { /* here it is an errno */
			count(FAILED_ALLOCATIONS);
			return 0;
		}
		if (bpf_probe_read_user(&address, sizeof(address), (void *)call->out_address)) {
			count(LOST_UNREADABLE);
			return 0;
		}
	}
	if (!address) {
		commit_failure(call);
		return 0;
	}
	if (call->kind == REALLOC)
		commit_old_block(call);
	record_allocation(call, address);
	return 0;
}

int on_free(struct pt_regs *ctx)
{
	u64 address = PT_REGS_PARM1(ctx);
	u32 thread = bpf_get_current_pid_tgid();
	struct block *block, gone;
	struct call *call;

	if (!address || !is_open())
		return 0;
	block = blocks.lookup(&address);
	if (block) {
		gone = *block;
		if (!blocks.delete(&address))
			account_freed(&gone);
		return 0;
	}
	call = calls.lookup(&thread);
	if (call && call->nesting && call->old_address == address)
		return 0; /* realloc frees its old block through free(): the commit counts it */
	count(FREES_FROM_BEFORE);
	return 0;
}

/* A thread that is gone leaves no state behind. */
int on_thread_exit(struct bpf_raw_tracepoint_args *ctx)
{
	u32 thread = bpf_get_current_pid_tgid();
	struct bpf_pidns_info now = {};
	struct session *target = of_target(&now);
	u32 zero = 0;
	struct fate *its_fate = fate.lookup(&zero);

	if (target && its_fate && now.pid == now.tgid)
		its_fate->leader_is_gone = 1;
	calls.delete(&thread);
	return 0;
}

/* Another program in the same process: its memory is new, and so may be its owner. */
int on_exec(struct bpf_raw_tracepoint_args *ctx)
{
	struct bpf_pidns_info now = {};
	struct session *target = of_target(&now);
	u32 zero = 0;
	struct fate *its_fate = fate.lookup(&zero);

	if (target && its_fate) {
		target->is_open = 0;
		its_fate->has_executed = 1;
	}
	return 0;
}
