/*
 * stack.bpf.c - who called: the call stack of the current thread, walked exactly.
 *
 * Most libraries are built without frame pointers, and a walk by frame pointers leaves out the
 * caller of each function of theirs without a sign. So the walk goes by the rules that compilers
 * write down for exceptions and debuggers (.eh_frame): for each instruction, where the frame ends
 * and where the caller's frame pointer was put. The client reads them, the service puts them into
 * two arrays, and this searches them. Code without rules is walked by frame pointers, and marked.
 */

enum ending {
	REACHED_TOP, /* the outermost function of the thread */
	IS_CUT,      /* something that is no frame */
	IS_TOO_DEEP, /* MAX_FRAMES */
};

/* One row of a snapshot; protocol.py's STACK_FIELDS are its first words. */
struct stack_usage {
	u64 allocated_bytes;
	u64 allocated_blocks; /* with sampling, in units of 1 / SAMPLE_UNIT */
	u64 freed_bytes;
	u64 freed_blocks;
	u64 live_born_sum_ns; /* sum of birth times of the live records: gives their mean age */
	u64 live_records;     /* with sampling only: how many samples are live */
	u64 live_variance;    /* with sampling only: of the live bytes */
	u64 process;          /* its number */
	u64 window;
	u64 is_mapping; /* the frames of an mmap: what it holds is in the service's ledger */
	u64 ending;
	u64 certain_frames; /* before a frame pointer was trusted in code without rules; 0: all */
	u64 depth;
	u64 frames[MAX_FRAMES]; /* return addresses, the allocator's caller first */
};

struct module {
	u64 start; /* of its code, in the target */
	u64 end;
	u64 bias; /* what to take from an address for the address in a row */
	u64 first_row;
	u64 rows;
};

struct registers {
	u64 pc;
	u64 sp;
	u64 fp;
};

/* A row: address << 32 | (cfa offset / 8) << 16 | (fp's place below the cfa / 8) << 8 | rule. */
enum rule { NO_RULE, CFA_FROM_SP, CFA_FROM_FP, OUTERMOST };

BPF_TABLE("array", u32, struct module, unwind_modules, MAX_MODULES);
BPF_TABLE("array", u32, u64, unwind_rows, MAX_UNWIND_ROWS);
BPF_F_TABLE("hash", u64, struct stack_usage, stacks, MAX_STACKS, BPF_F_NO_PREALLOC);

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
#define MODULE_SEARCH_STEPS 8 /* 2^8 > MAX_MODULES */
#define ROW_SEARCH_STEPS 21   /* 2^21 > MAX_UNWIND_ROWS */

static __always_inline u64 mix(u64 hash, u64 address)
{
	hash = (hash ^ address) * 0x9E3779B97F4A7C15ULL;
	return hash ^ (hash >> 29);
}

/*
 * The module whose code an address lies in; `modules` are sorted and don't overlap. Halves what is
 * left without a branch: the kernel checks each way through a program at each session's start.
 */
static __always_inline struct module *find_module(u32 modules, u64 address)
{
	u32 at = 0, left = modules, half, middle;
	struct module *module;

	for (int i = 0; i < MODULE_SEARCH_STEPS && left > 1; i++) {
		half = left / 2;
		middle = at + half;
		module = unwind_modules.lookup(&middle);
		if (!module)
			return NULL;
		at += half & (u32)((s64)(module->start - address - 1) >> 63);
		left -= half;
	}
	module = unwind_modules.lookup(&at);
	return module && address >= module->start && address < module->end ? module : NULL;
}

/* The row that holds for an address of a module: the last one that begins at or before it. */
static __always_inline u64 find_row(struct module *module, u64 address)
{
	u32 at = module->first_row, left = module->rows, half, middle;
	u64 wanted = address - module->bias, *row;

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

/* From a function to its caller; -1 where the walk ends, and why in usage->ending. */
static __always_inline int step(u32 modules, struct registers *at, struct stack_usage *usage)
{
	struct {
		u64 fp;
		u64 return_address;
	} saved = {};
	struct module *module = find_module(modules, at->pc - 1);
	u64 row = module ? find_row(module, at->pc - 1) : NO_RULE;
	u64 rule = row & 0xff, slot = row >> 8 & 0xff, cfa;

	if (rule == OUTERMOST) {
		usage->ending = REACHED_TOP;
		return -1;
	}
	if (rule == NO_RULE) {
		slot = 2;
		cfa = at->fp + 16;
		if (!usage->certain_frames)
			usage->certain_frames = usage->depth;
	} else {
		cfa = (rule == CFA_FROM_SP ? at->sp : at->fp) + (row >> 16 & 0xffff) * 8;
	}
	usage->ending = IS_CUT;
	if (cfa <= at->sp || cfa - at->sp > MAX_FRAME_BYTES || (cfa & 7))
		return -1;
	if (bpf_probe_read_user(&saved, sizeof(saved), (void *)cfa - sizeof(saved)))
		return -1;
	if (!saved.return_address)
		return -1;
	if (slot == 2)
		at->fp = saved.fp;
	else if (slot && bpf_probe_read_user(&at->fp, sizeof(at->fp), (void *)cfa - slot * 8))
		return -1;
	at->pc = STRIP_SIGNATURE(saved.return_address);
	at->sp = cfa;
	return 0;
}

/* Fill in the frames from `at` on, whose pc is the first; returns their hash. */
static __always_inline u64 walk_stack(struct session *now, struct registers *at, u64 process,
	u64 is_mapping, struct stack_usage *usage)
{
	u32 modules = now->modules;
	u64 hash;

	usage->process = process;
	usage->window = now->window;
	usage->is_mapping = is_mapping;
	usage->certain_frames = 0;
	usage->ending = IS_TOO_DEEP;
	usage->frames[0] = at->pc;
	usage->depth = 1;
	hash = mix(mix(mix(process, now->window), is_mapping), at->pc);
	for (int i = 1; i < MAX_FRAMES; i++) {
		if (step(modules, at, usage))
			break;
		usage->frames[i] = at->pc;
		usage->depth = i + 1;
		hash = mix(hash, at->pc);
	}
	return hash;
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

/* The row of a stack, at its first sight a copy of `fresh`, whose counts are all zero. */
static __always_inline struct stack_usage *find_or_add_stack(
	u64 stack_id, struct stack_usage *fresh)
{
	struct stack_usage *usage = stacks.lookup(&stack_id);
	if (usage)
		return usage;
	/* Another thread may be first; then this fails, and both find the same one. */
	stacks.insert(&stack_id, fresh);
	return stacks.lookup(&stack_id);
}
