/*
 * stack.bpf.c - who called: the call stack of the current thread, walked exactly.
 *
 * Most libraries are built without frame pointers, and a walk by frame pointers leaves out the
 * caller of each function of theirs without a sign. So the walk goes by the rules that compilers
 * write down for exceptions and debuggers (.eh_frame): for each instruction, where the frame ends
 * and where the caller's frame pointer was put. The client reads them, the service puts them into
 * tables, and this searches them. Code without rules is walked by frame pointers, and marked.
 */

enum ending {
	REACHED_TOP, /* the outermost function of the thread */
	IS_CUT,      /* something that is no frame */
	IS_TOO_DEEP, /* MAX_FRAMES */
};

/* A call stack; protocol.py's STACK_FIELDS are its first words. */
struct stack {
	u64 number;  /* of its totals in `usages` */
	u64 process; /* its number */
	u64 window;
	u64 is_mapping; /* the frames of an mmap: what it holds is in the service's ledger */
	u64 ending;
	u64 certain_frames; /* before a frame pointer was trusted in code without rules; 0: all */
	u64 depth;
	u64 frames[MAX_FRAMES]; /* return addresses, the allocator's caller first */
};

/* What a stack has done to the heap; protocol.py's USAGE_FIELDS. One line of the cache. */
struct usage {
	u64 allocated_bytes;
	u64 allocated_blocks; /* with sampling, in units of 1 / SAMPLE_UNIT */
	u64 freed_bytes;
	u64 freed_blocks;
	u64 live_born_sum_ns; /* sum of birth times of the live records: gives their mean age */
	u64 live_records;     /* with sampling only: how many samples are live */
	u64 live_variance;    /* with sampling only: of the live bytes */
	u64 padding;
};

/* Where the rows of a page of code are. */
struct unwind_page {
	u64 bias; /* what to take from an address for the address in a row */
	u32 first_row;
	u32 rows; /* the first of them may hold from before the page on */
};

struct registers {
	u64 pc;
	u64 sp;
	u64 fp;
};

#define CODE_PAGE_BITS 12
#define MAX_CACHED_RULES (1 << CODE_PAGE_BITS) /* a place says 12 bits of an address */
#define COPY_BYTES 512

/* A part of the stack: to copy that much of it takes no longer than to copy a word. */
struct stack_copy {
	u64 from;
	u64 bytes;
	u64 words[COPY_BYTES / 8];
};

/* A row: address << 32 | (cfa offset / 8) << 16 | (fp's place below the cfa / 8) << 8 | rule. */
enum rule { NO_RULE, CFA_FROM_SP, CFA_FROM_FP, OUTERMOST };

BPF_TABLE("hash", u64, struct unwind_page, unwind_pages, MAX_UNWIND_PAGES); /* by address >> 12 */
BPF_TABLE("array", u32, u64, unwind_rows, MAX_UNWIND_ROWS);
BPF_TABLE("array", u32, u64, unwind_cache, MAX_CACHED_RULES);
BPF_F_TABLE("hash", u64, struct stack, stacks, MAX_STACKS, BPF_F_NO_PREALLOC);
BPF_TABLE("array", u32, u64, stacks_seen, 1);
BPF_TABLE("array", u32, struct usage, usages, MAX_STACKS);

#if defined(__x86_64__)
#define FRAME_POINTER(ctx) ((ctx)->bp)
#define STRIP_SIGNATURE(address) (address)
#define RETURN_ADDRESS_BYTES 8 /* a call leaves it on the stack */
#elif defined(__aarch64__)
#define FRAME_POINTER(ctx) ((ctx)->regs[29])
/* With pointer authentication the upper bits of a saved return address are a signature. */
#define STRIP_SIGNATURE(address) ((address) & ((1ULL << 48) - 1))
#define RETURN_ADDRESS_BYTES 0
#else
#error "stack.bpf.c knows the frames of x86_64 and aarch64 only"
#endif

#define MAX_FRAME_BYTES (8ULL << 20)
#define ROW_SEARCH_STEPS (CODE_PAGE_BITS + 1) /* at most a row for each byte, and one before */

static __always_inline u64 mix(u64 hash, u64 address)
{
	hash = (hash ^ address) * 0x9E3779B97F4A7C15ULL;
	return hash ^ (hash >> 29);
}

static __always_inline struct unwind_page *find_page(u64 address)
{
	u64 number = address >> CODE_PAGE_BITS;
	return unwind_pages.lookup(&number);
}

/*
 * The row that holds for an address: the last one that begins at or before it. Halves what is left
 * without a branch: the kernel checks each way through a program at each session's start.
 */
static __always_inline u64 find_row(u64 address)
{
	struct unwind_page *page = find_page(address);
	u32 at, left, half, middle;
	u64 wanted, *row;

	if (!page)
		return NO_RULE;
	at = page->first_row;
	left = page->rows;
	wanted = address - page->bias;
	for (int i = 0; i < ROW_SEARCH_STEPS && left > 1; i++) {
		half = left / 2;
		middle = at + half;
		row = unwind_rows.lookup(&middle);
		if (!row)
			return NO_RULE;
		at += half & (u32)((s64)((*row >> 32) - wanted - 1) >> 63); /* all ones, or 0 */
		left -= half;
	}
	row = unwind_rows.lookup(&at);
	return row && *row >> 32 <= wanted ? *row : NO_RULE;
}

/*
 * The rule for an address, as in the lower half of a row. What has been found is kept in one word:
 * address >> 12 in its upper 36 bits, and with the place, which holds the others, that is all of
 * the address; so no entry is taken for another's, and two threads can't tear one.
 */
static __always_inline u32 find_rule(u64 address)
{
	u32 place = (address ^ address >> CODE_PAGE_BITS) & (MAX_CACHED_RULES - 1);
	u64 tag = address >> CODE_PAGE_BITS << 28, *cached = unwind_cache.lookup(&place), row;

	if (!cached || address >> 48)
		return NO_RULE;
	row = *cached;
	if (row >> 28 << 28 == tag)
		return (row & 0xf) | (row & 0xffffff0) << 4;
	row = (u32)find_row(address);
	*cached = tag | (row >> 8) << 4 | (row & 0xf);
	return row;
}

/* A word of the stack, at a multiple of 8; the copy never goes beyond a page that is there. */
static __always_inline int read_word(struct stack_copy *copy, u64 address, u64 *word)
{
	u64 offset = address - copy->from, bytes;

	if (offset >= copy->bytes) {
		bytes = PAGE_BYTES - (address & (PAGE_BYTES - 1));
		if (bytes > COPY_BYTES)
			bytes = COPY_BYTES;
		if (bpf_probe_read_user(copy->words, bytes, (void *)address)) {
			copy->bytes = 0;
			return -1;
		}
		copy->from = address;
		copy->bytes = bytes;
		offset = 0;
	}
	*word = copy->words[offset / 8 & (COPY_BYTES / 8 - 1)];
	return 0;
}

/* From a function to its caller; -1 where the walk ends, and why in stack->ending. */
static __always_inline int step(struct registers *at, struct stack_copy *copy, struct stack *stack)
{
	u64 fp = at->fp, return_address;
	u32 row = find_rule(at->pc - 1);
	u64 rule = row & 0xff, slot = row >> 8 & 0xff, cfa;

	if (rule == OUTERMOST) {
		stack->ending = REACHED_TOP;
		return -1;
	}
	if (rule == NO_RULE) {
		slot = 2;
		cfa = at->fp + 16;
		if (!stack->certain_frames)
			stack->certain_frames = stack->depth;
	} else {
		cfa = (rule == CFA_FROM_SP ? at->sp : at->fp) + (row >> 16 & 0xffff) * 8;
	}
	stack->ending = IS_CUT;
	if (cfa <= at->sp || cfa - at->sp > MAX_FRAME_BYTES || (cfa & 7))
		return -1;
	if (slot && read_word(copy, cfa - slot * 8, &fp))
		return -1;
	if (read_word(copy, cfa - 8, &return_address) || !return_address)
		return -1;
	at->fp = fp;
	at->pc = STRIP_SIGNATURE(return_address);
	at->sp = cfa;
	stack->ending = IS_TOO_DEEP;
	return 0;
}

/* Fill in the frames from `at` on, whose pc is the first; returns their hash. */
static __always_inline u64 walk_stack(struct session *now, struct registers *at, u64 process,
	u64 is_mapping, struct stack_copy *copy, struct stack *stack)
{
	u64 hash;

	copy->bytes = 0;
	stack->process = process;
	stack->window = now->window;
	stack->is_mapping = is_mapping;
	stack->certain_frames = 0;
	stack->ending = IS_TOO_DEEP;
	stack->frames[0] = at->pc;
	stack->depth = 1;
	hash = mix(mix(mix(process, now->window), is_mapping), at->pc);
	for (int i = 1; i < MAX_FRAMES; i++) {
		if (step(at, copy, stack))
			break;
		stack->frames[i] = at->pc;
		stack->depth = i + 1;
		hash = mix(hash, at->pc);
	}
	return hash;
}

/* Those with which the current thread came into the kernel. */
static __always_inline int read_own_registers(struct registers *own)
{
	struct pt_regs regs = {};
	void *at = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());

	if (!at || bpf_probe_read_kernel(&regs, sizeof(regs), at))
		return -1;
	own->pc = PT_REGS_IP(&regs);
	own->sp = PT_REGS_SP(&regs);
	own->fp = FRAME_POINTER(&regs);
	return 0;
}

/* At the first instructions of a function: the address that it will return to. */
static __always_inline int read_return_address(struct pt_regs *ctx, u64 sp, u64 *address)
{
#if defined(__x86_64__)
	return bpf_probe_read_user(address, sizeof(*address), (void *)sp);
#else
	*address = ctx->regs[30];
	return 0;
#endif
}

/* The number of a stack's totals; at the first sight of a stack it gets one. -1: no room. */
static __always_inline s64 find_or_add_stack(u64 stack_id, struct stack *fresh)
{
	struct stack *stack = stacks.lookup(&stack_id);
	u32 zero = 0;
	u64 *seen;

	if (stack)
		return stack->number;
	seen = stacks_seen.lookup(&zero);
	if (!seen)
		return -1;
	fresh->number = __sync_fetch_and_add(seen, 1);
	/* Another thread may be first; then this fails, and both find the same one. */
	stacks.insert(&stack_id, fresh);
	stack = stacks.lookup(&stack_id);
	return stack ? stack->number : -1;
}

static __always_inline struct usage *find_usage(u64 number)
{
	u32 index = number;
	return usages.lookup(&index);
}
