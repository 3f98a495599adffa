/*
 * heap.bpf.c - who holds how many bytes of a process's heap, per call stack, exactly.
 *
 * Every allocator call is a transaction: it opens at the entry probe, where the arguments are
 * readable, and commits at the return probe, where the outcome is known and the stack still is.
 * Only the outermost call of a thread counts, so realloc(NULL, n), which jumps into malloc, is one
 * block. A return belongs to the call whose stack pointer it brings back.
 *
 * Live bytes are kept per stack as two totals that only grow (allocated, freed). A snapshot reads
 * those few totals; the table of blocks is never walked.
 *
 * Sampling takes a block of size s with the probability p = min(1, s / sample_bytes) and counts it
 * as 1 / p blocks (Horvitz and Thompson): the expected totals are the true ones.
 */

enum call_kind { NO_CALL, MALLOC, CALLOC, REALLOC, ALIGNED, POSIX_MEMALIGN };

#define SAMPLE_UNIT 65536 /* a sampled block counts as so many times the blocks it stands for */
#define MAX_INTERRUPTIONS 2

/* What one thread is doing inside the allocator. */
struct call {
	u64 kind;            /* of the call that counts; NO_CALL outside */
	u64 stack_pointer;   /* at its entry */
	u64 chained;         /* calls that it jumped into: they return to the same place */
	u64 interruptions;   /* in a thread's first record: calls in signal handlers on top of it */
	u64 is_interruption; /* in the others: this is one of these */
	u64 size_bytes;
	u64 is_sampled;
	u64 out_address; /* posix_memalign: where the result will be written */
	u64 old_address; /* realloc: the block that it was given */
	u64 has_old_block;
	struct block old_block;
	u64 freed_address; /* in a thread's first record: the last block that it freed, if noted */
	u64 freed_bytes;
	u64 process;
	struct stack_copy copy;
	u64 last_stack_id; /* the stack of the call before: most often this one's as well */
	u64 last_stack_number;
	struct stack fresh; /* the first sight of a stack copies it */
};

BPF_TABLE("array", u32, u64, clock, 1);              /* kept by the service */
BPF_TABLE("array", u32, struct call, blank_call, 1); /* always zero: too big for BPF's stack */
/* By thread | interruption << 32. */
BPF_F_TABLE("hash", u64, struct call, calls, MAX_THREADS, BPF_F_NO_PREALLOC);

static __always_inline struct call *find_or_add_call(u64 key)
{
	u32 zero = 0;
	struct call *call = calls.lookup(&key), *blank;

	if (call)
		return call;
	blank = blank_call.lookup(&zero);
	if (blank)
		calls.insert(&key, blank);
	return calls.lookup(&key);
}

/* The record of the innermost call that counts, or of none. */
static __always_inline struct call *find_call(u64 thread)
{
	u64 key = thread;
	struct call *call = calls.lookup(&key);

	if (call && call->interruptions) {
		key |= call->interruptions << 32;
		call = calls.lookup(&key);
	}
	return call;
}

static __always_inline void end_call(u64 thread, struct call *call)
{
	u64 key = thread;
	struct call *first;

	call->kind = NO_CALL;
	if (!call->is_interruption)
		return;
	first = calls.lookup(&key);
	if (first && first->interruptions)
		first->interruptions--;
}

static __always_inline int is_in_allocator(struct session *now, u64 address)
{
	for (int i = 0; i < MAX_ALLOCATORS; i++)
		if (address >= now->allocators[i].start && address < now->allocators[i].end)
			return 1;
	return 0;
}

/* What a block adds to the totals of its stack. */
struct weight {
	u64 bytes;
	u64 blocks;
	u64 variance;
};

static __always_inline struct weight weigh(struct session *now, u64 size_bytes)
{
	struct weight weight = { size_bytes, 1, 0 };
	u64 every = now->sample_bytes, size = size_bytes ?: 1;

	if (!every)
		return weight;
	weight.blocks = SAMPLE_UNIT;
	if (size < every) {
		weight.bytes = size_bytes ? every : 0;
		weight.blocks = every * SAMPLE_UNIT / size;
		weight.variance = every * (every - size);
	}
	return weight;
}

static __always_inline int is_sampled(struct session *now, u64 size_bytes)
{
	u64 every = now->sample_bytes, size = size_bytes ?: 1;
	return size >= every || bpf_get_prandom_u32() < (size << 32) / every;
}

static __always_inline void account_freed(struct session *now, const struct block *block)
{
	struct weight weight = weigh(now, block->size_bytes);
	struct usage *usage = find_usage(block->stack_number);

	if (!usage)
		return;
	__sync_fetch_and_add(&usage->freed_bytes, weight.bytes);
	__sync_fetch_and_add(&usage->freed_blocks, weight.blocks);
	__sync_fetch_and_add(&usage->live_born_sum_ns, -block->born_ns);
	if (now->sample_bytes) {
		__sync_fetch_and_add(&usage->live_records, -1);
		__sync_fetch_and_add(&usage->live_variance, -weight.variance);
	}
}

/* Put a block on record; an older record at its address belongs to a block that must be gone. */
static __always_inline int record_block(
	struct session *now, struct block_key *key, struct block *block)
{
	struct block gone;

	if (!insert_block(now, key, block))
		return 0;
	if (replace_block(now, key, block, &gone))
		return -1;
	count(LOST_RACED);
	account_freed(now, &gone);
	return 0;
}

static __always_inline void restore_old_block(struct session *now, struct call *call)
{
	struct block_key key = { call->old_address, call->process };

	if (call->has_old_block && record_block(now, &key, &call->old_block))
		count(LOST_BLOCKS_FULL);
	call->has_old_block = 0;
}

/* The record for a call that begins now; NULL when it is part of another one that counts. */
static __always_inline struct call *place_call(
	struct pt_regs *ctx, struct session *now, u64 thread, u64 sp)
{
	struct call *first = find_or_add_call(thread), *call;
	u64 caller = 0;

	if (!first) {
		count(LOST_THREADS_FULL);
		return NULL;
	}
	for (int i = 0; i <= MAX_INTERRUPTIONS; i++) {
		call = first->interruptions ? find_call(thread) : first;
		if (!call || call->kind == NO_CALL)
			return call;
		if (read_return_address(ctx, sp, &caller)) {
			count(LOST_UNREADABLE);
			return NULL;
		}
		if (sp < call->stack_pointer)
			break;
		/* A function that the call jumped into returns to the kernel's own trampoline. */
		if (sp == call->stack_pointer && !find_page(caller)) {
			call->chained++;
			return NULL;
		}
		count(LOST_UNWOUND); /* the program jumped out of it */
		restore_old_block(now, call);
		end_call(thread, call);
	}
	if (is_in_allocator(now, caller))
		return NULL;
	if (first->interruptions == MAX_INTERRUPTIONS) {
		count(LOST_INTERRUPTED);
		return NULL;
	}
	call = find_or_add_call(thread | (first->interruptions + 1) << 32);
	if (!call) {
		count(LOST_THREADS_FULL);
		return NULL;
	}
	first->interruptions++;
	call->is_interruption = 1;
	return call;
}

/* Open a transaction; NULL when this call is part of another, or can't be recorded. */
static __always_inline struct call *enter(
	struct pt_regs *ctx, struct session *now, u64 kind, u64 size_bytes)
{
	u64 thread = (u32)bpf_get_current_pid_tgid(), sp = PT_REGS_SP(ctx), process;
	struct call *call;

	if (!is_traced(now, 0, &process))
		return NULL;
	call = place_call(ctx, now, thread, sp);
	if (!call)
		return NULL;
	call->kind = kind;
	call->stack_pointer = sp;
	call->chained = 0;
	call->size_bytes = size_bytes;
	call->process = process;
	call->old_address = 0;
	call->has_old_block = 0;
	call->is_sampled = !now->sample_bytes || is_sampled(now, size_bytes);
	return call;
}

/* The time when the service last looked in: to ask the kernel for it costs a tenth of all. */
static __always_inline u64 read_clock(void)
{
	u32 zero = 0;
	u64 *time_ns = clock.lookup(&zero);
	return time_ns ? *time_ns : 0;
}

/* Runs at the return: the caller's registers are what they were, but for the result. */
static __always_inline void record_allocation(
	struct pt_regs *ctx, struct session *now, struct call *call, u64 address)
{
	struct registers caller = { PT_REGS_IP(ctx), PT_REGS_SP(ctx), FRAME_POINTER(ctx) };
	struct block_key key = { address, call->process };
	struct block block = {};
	struct weight weight;
	struct usage *usage;
	u64 stack_id = walk_stack(now, &caller, call->process, 0, &call->copy, &call->fresh);
	s64 number = call->last_stack_number;

	if (stack_id != call->last_stack_id) {
		number = find_or_add_stack(stack_id, &call->fresh);
		if (number >= 0) {
			call->last_stack_id = stack_id;
			call->last_stack_number = number;
		}
	}
	usage = number >= 0 ? find_usage(number) : NULL;
	if (!usage) {
		count(LOST_STACKS_FULL);
		return;
	}
	block.stack_number = number;
	block.size_bytes = call->size_bytes;
	block.born_ns = read_clock();
	if (record_block(now, &key, &block)) {
		count(LOST_BLOCKS_FULL);
		return;
	}
	weight = weigh(now, call->size_bytes);
	__sync_fetch_and_add(&usage->allocated_bytes, weight.bytes);
	__sync_fetch_and_add(&usage->allocated_blocks, weight.blocks);
	__sync_fetch_and_add(&usage->live_born_sum_ns, block.born_ns);
	if (now->sample_bytes) {
		__sync_fetch_and_add(&usage->live_records, 1);
		__sync_fetch_and_add(&usage->live_variance, weight.variance);
	}
}

static __always_inline void count_free_from_before(struct session *now)
{
	if (!now->sample_bytes) /* else it may be one that was not sampled */
		count(FREES_FROM_BEFORE);
}

/* The allocator's own call of free: a thread that ends gives back what it kept of freed blocks. */
static __always_inline int is_from_inside(struct pt_regs *ctx, struct session *now)
{
	u64 caller = 0;
	return !read_return_address(ctx, PT_REGS_SP(ctx), &caller) && is_in_allocator(now, caller);
}

static __always_inline void commit_old_block(struct session *now, struct call *call)
{
	if (call->has_old_block)
		account_freed(now, &call->old_block);
	else if (call->old_address)
		count_free_from_before(now);
}

static __always_inline void commit_failure(struct session *now, struct call *call)
{
	if (call->kind == REALLOC && call->old_address && call->size_bytes == 0) {
		commit_old_block(now, call); /* realloc(p, 0) is glibc's other way to say free(p) */
		return;
	}
	count(FAILED_ALLOCATIONS);
	restore_old_block(now, call);
}

int on_malloc(struct pt_regs *ctx)
{
	struct session *now = find_session();
	if (now)
		enter(ctx, now, MALLOC, PT_REGS_PARM1(ctx));
	return 0;
}

int on_calloc(struct pt_regs *ctx)
{
	struct session *now = find_session();
	if (now)
		enter(ctx, now, CALLOC, PT_REGS_PARM1(ctx) * PT_REGS_PARM2(ctx));
	return 0;
}

int on_aligned(struct pt_regs *ctx) /* memalign and aligned_alloc: (alignment, size) */
{
	struct session *now = find_session();
	if (now)
		enter(ctx, now, ALIGNED, PT_REGS_PARM2(ctx));
	return 0;
}

int on_posix_memalign(struct pt_regs *ctx) /* (&result, alignment, size) */
{
	struct session *now = find_session();
	struct call *call = now ? enter(ctx, now, POSIX_MEMALIGN, PT_REGS_PARM3(ctx)) : NULL;
	if (call)
		call->out_address = PT_REGS_PARM1(ctx);
	return 0;
}

/*
 * The old block leaves the table at the entry: inside realloc its address may be freed and handed
 * to another thread before this call returns. It comes back if realloc fails.
 */
int on_realloc(struct pt_regs *ctx)
{
	struct session *now = find_session();
	struct call *call = now ? enter(ctx, now, REALLOC, PT_REGS_PARM2(ctx)) : NULL;

	if (call) {
		struct block_key key = { PT_REGS_PARM1(ctx), call->process };
		call->old_address = key.address;
		call->has_old_block = !remove_block(now, &key, &call->old_block);
	}
	return 0;
}

/*
 * An operator new that throws: a return probe would end the program with the first exception. It is
 * only counted, so that nobody takes what is shown for all.
 */
int on_unseen(struct pt_regs *ctx)
{
	struct session *now = find_session();
	struct call *call = find_call((u32)bpf_get_current_pid_tgid());
	u64 process;

	if (now && now->state == OPEN && is_traced(now, 0, &process) &&
		(!call || call->kind == NO_CALL))
		count(LOST_UNSEEN);
	return 0;
}

/* With the window closed to new blocks, one that a realloc moves stays on record. */
static __always_inline int is_wanted(struct session *now, struct call *call)
{
	return call->is_sampled && (now->state == OPEN || call->has_old_block);
}

int on_return(struct pt_regs *ctx)
{
	u64 thread = (u32)bpf_get_current_pid_tgid(), address = PT_REGS_RC(ctx), process;
	struct session *now = find_session();
	struct call *call;

	if (!now || !is_traced(now, 0, &process))
		return 0;
	call = find_call(thread);
	if (!call || call->kind == NO_CALL) {
		if (now->state == OPEN)
			count(RETURNS_FROM_BEFORE);
		return 0;
	}
	if (PT_REGS_SP(ctx) != call->stack_pointer + RETURN_ADDRESS_BYTES)
		return 0; /* of a call inside */
	if (call->chained) {
		call->chained--;
		return 0;
	}
	if (call->kind == POSIX_MEMALIGN) {
		u64 error = (u32)address;
		address = 0;
		if (!error &&
			bpf_probe_read_user(&address, sizeof(address), (void *)call->out_address)) {
			count(LOST_UNREADABLE);
			end_call(thread, call);
			return 0;
		}
	}
	if (!address) {
		commit_failure(now, call);
	} else {
		if (call->kind == REALLOC)
			commit_old_block(now, call);
		if (is_wanted(now, call))
			record_allocation(ctx, now, call, address);
	}
	end_call(thread, call);
	return 0;
}

/* For whom asks next: is this munmap, or this second free, a part of that free? */
static __always_inline void note_freed(struct session *now, u64 thread, u64 address, u64 size_bytes)
{
	struct call *first;

	if (!now->frees_nest && size_bytes < PAGE_BYTES)
		return;
	first = find_or_add_call(thread);
	if (first) {
		first->freed_address = address;
		first->freed_bytes = size_bytes;
	}
}

int on_free(struct pt_regs *ctx)
{
	u64 thread = (u32)bpf_get_current_pid_tgid(), first_record = thread;
	struct block_key key = { PT_REGS_PARM1(ctx) };
	struct session *now = find_session();
	struct block gone;
	struct call *call;

	if (!key.address || !now || !is_traced(now, 0, &key.process))
		return 0;
	if (!remove_block(now, &key, &gone)) {
		account_freed(now, &gone);
		note_freed(now, thread, key.address, gone.size_bytes);
		return 0;
	}
	call = find_call(thread);
	if (call && call->kind != NO_CALL && call->old_address == key.address)
		return 0; /* realloc frees its old block through free(): the commit counts it */
	call = calls.lookup(&first_record);
	if (call && call->freed_address == key.address) {
		call->freed_address = 0; /* free() called by operator delete, which was seen */
		return 0;
	}
	if (now->state == OPEN && !is_from_inside(ctx, now))
		count_free_from_before(now);
	return 0;
}
