/*
 * walk.h - who called: the call stack of the current thread, walked by the rules of its code.
 *
 * The rules and their tables are those of the tracer in the kernel (tracing/programs/stack.bpf.c),
 * so that both find the same callers. A loop calls the allocator again and again from one stack:
 * so each thread keeps what its last walks have read. Where all of that is still there, the walk
 * would end as it did then.
 */
#ifndef WALK_H
#define WALK_H

#include "threads.h"
#include <fcntl.h>

enum rule { NO_RULE, CFA_FROM_SP, CFA_FROM_FP, OUTERMOST };

#define PAGE_BITS 12
#define MAX_FRAME_BYTES (8ULL << 20)
#define STACK_GAP (128ULL << 20) /* nothing else is mapped so close to the first stack */
#define CACHED_RULES (1 << PAGE_BITS)
#define MEMOS 8
#define MAX_WORDS (2 * MAX_FRAMES)

#if defined(__x86_64__)
#define STRIP_SIGNATURE(address) (address)
#else
#define STRIP_SIGNATURE(address) ((address) & ((1ULL << 48) - 1))
#endif

struct registers {
	u64 pc, sp, fp;
};

/* A walk: where it began, each word that it has read, and the number of the stack it found. */
struct memo {
	u64 pc, sp, kept_fp;
	u64 window;
	u64 number;
	u32 words;
	u32 offsets[MAX_WORDS]; /* from `sp` */
	u64 values[MAX_WORDS];
};

struct span {
	u64 low, high;
};

static struct span own; /* where our own code lies: no frame of it is the program's */
static u64 rules[CACHED_RULES];
static struct memo memos[OWNED_SLOTS][MEMOS];

static void forget_stacks(u64 slot_number)
{
	if (slot_number < OWNED_SLOTS)
		for (int i = 0; i < MEMOS; i++)
			memos[slot_number][i].window = 0;
}

/* At the first instructions of an exported function: where it will return to. */
static inline struct registers read_caller(const u64 *frame)
{
	struct registers caller = { frame[1], (u64)(frame + 2), frame[0] };
	return caller;
}

static inline u64 mix(u64 hash, u64 word)
{
	hash = (hash ^ word) * 0x9E3779B97F4A7C15ULL;
	return hash ^ (hash >> 29);
}

static __attribute__((noinline)) u32 find_row(struct segment *segment, u64 address)
{
	const u64 *numbers = at(segment, segment->page_numbers_at);
	const struct unwind_place *places = at(segment, segment->places_at), *place;
	const u64 *rows = at(segment, segment->rows_at);
	u64 low = 0, high = segment->unwind_pages, number = address >> PAGE_BITS, wanted;

	while (low < high) {
		u64 middle = (low + high) / 2;
		if (numbers[middle] < number)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == segment->unwind_pages || numbers[low] != number)
		return NO_RULE;
	place = &places[low];
	wanted = address - place->bias;
	low = place->first_row;
	high = low + place->rows;
	while (high - low > 1) { /* the last one that begins at or before it */
		u64 middle = (low + high) / 2;
		if (rows[middle] >> 32 <= wanted)
			low = middle;
		else
			high = middle;
	}
	return rows[low] >> 32 <= wanted ? (u32)rows[low] : NO_RULE;
}

/* What has been found is kept in one word, which says for which address it is. */
static inline u32 find_rule(struct segment *segment, u64 address)
{
	u64 *cached = &rules[(address ^ address >> PAGE_BITS) & (CACHED_RULES - 1)];
	u64 tag = address >> PAGE_BITS << 28, word = __atomic_load_n(cached, __ATOMIC_RELAXED);
	u32 row;

	if (address >> 48)
		return NO_RULE;
	if (word >> 28 << 28 == tag)
		return (word & 0xf) | (word & 0xffffff0) << 4;
	row = find_row(segment, address);
	word = tag | (row >> 8) << 4 | (row & 0xf);
	__atomic_store_n(cached, word, __ATOMIC_RELAXED);
	return row;
}

static inline u64 parse_hex(const char **text)
{
	u64 value = 0;

	for (;; ++*text) {
		int digit = **text;
		if (digit >= '0' && digit <= '9')
			value = value << 4 | (u64)(digit - '0');
		else if (digit >= 'a' && digit <= 'f')
			value = value << 4 | (u64)(digit - 'a' + 10);
		else
			return value;
	}
}

/* Of the mapping that an address lies in: from where to where, and whether it is [stack]. */
static int find_mapping(u64 address, u64 *low, u64 *high, int *is_first_stack)
{
	char text[4096 + 1];
	size_t have = 0;
	ssize_t got;
	int file = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
	int is_found = 0;

	if (file < 0)
		return 0;
	while (!is_found && (got = syscall(SYS_read, file, text + have, 4096 - have)) > 0) {
		const char *line = text;
		char *end;

		have += (size_t)got;
		text[have] = 0;
		while (!is_found && (end = memchr(line, '\n', have - (size_t)(line - text)))) {
			const char *word = line;
			u64 start = parse_hex(&word), stop;

			word++;
			stop = parse_hex(&word);
			*end = 0;
			if (address >= start && address < stop) {
				*low = start;
				*high = stop;
				*is_first_stack = strstr(word, "[stack]") != NULL;
				is_found = 1;
			}
			line = end + 1;
		}
		have -= (size_t)(line - text);
		memmove(text, line, have);
		if (have == 4096)
			have = 0; /* a line that long is no stack's */
	}
	syscall(SYS_close, file);
	return is_found;
}

/* Whether a stack pointer lies in a stack whose end is known; finds out where it is not. */
static __attribute__((noinline)) int find_stack(u64 sp)
{
	u64 low, high, self = (u64)__builtin_thread_pointer();
	int kept_errno = errno, is_first, is_found = find_mapping(sp, &low, &high, &is_first);

	errno = kept_errno;
	forget_stacks(me.slot_number);
	if (!is_found)
		return 0;
	if (is_first && low > high - STACK_GAP)
		low = high - STACK_GAP; /* it may grow so far without our asking again */
	else if (self > sp && self < high)
		high = self & ~7ULL; /* a thread's own record lies above its frames */
	me.stack_low = low;
	me.stack_high = high;
	return 1;
}

static inline int is_on_stack(u64 address)
{
	return address - me.stack_low < me.stack_high - me.stack_low && !(address & 7);
}

static inline int read_word(u64 address, struct memo *memo, u64 *word)
{
	if (!is_on_stack(address))
		return -1;
	*word = *(const u64 *)address;
	memo->offsets[memo->words] = (u32)(address - memo->sp);
	memo->values[memo->words++] = ~*word; /* as it may point at a block */
	return 0;
}

/* From a function to its caller; -1 where the walk ends, and why in stack->ending. */
static inline int step(
	struct segment *segment, struct registers *now, struct memo *memo, struct stack *stack)
{
	u64 fp = now->fp, return_address, cfa;
	u32 row = find_rule(segment, now->pc - 1);
	u64 rule = row & 0xff, slot = row >> 8 & 0xff;

	if (rule == OUTERMOST) {
		stack->ending = REACHED_TOP;
		return -1;
	}
	if (rule == NO_RULE) {
		slot = 2;
		cfa = now->fp + 16;
		if (!stack->certain_frames)
			stack->certain_frames = stack->depth;
	} else {
		cfa = (rule == CFA_FROM_SP ? now->sp : now->fp) + (row >> 16 & 0xffff) * 8;
	}
	stack->ending = IS_CUT;
	if (cfa <= now->sp || cfa - now->sp > MAX_FRAME_BYTES)
		return -1;
	if (slot && read_word(cfa - slot * 8, memo, &fp))
		return -1;
	if (read_word(cfa - 8, memo, &return_address) || !return_address)
		return -1;
	now->fp = fp;
	now->pc = STRIP_SIGNATURE(return_address);
	now->sp = cfa;
	stack->ending = IS_TOO_DEEP;
	return 0;
}

/* Fill in the frames from `from` on, whose pc is the first, and their id. */
static inline void walk(struct segment *segment, const struct registers *from, u64 window,
	u64 is_mapping, struct memo *memo, struct stack *stack)
{
	u64 id, low = me.stack_low, high = me.stack_high;
	struct registers now = *from;

	memo->pc = from->pc;
	memo->sp = from->sp;
	memo->kept_fp = ~from->fp;
	memo->words = 0;
	stack->process = 0;
	stack->window = window;
	stack->is_mapping = is_mapping;
	stack->certain_frames = 0;
	stack->ending = IS_CUT;
	stack->frames[0] = now.pc;
	stack->depth = 1;
	id = mix(mix(mix(0, window), is_mapping), now.pc);
	if (is_on_stack(from->sp) || find_stack(from->sp)) {
		stack->ending = IS_TOO_DEEP;
		for (int i = 1; i < MAX_FRAMES; i++) {
			if (step(segment, &now, memo, stack))
				break;
			if (now.pc - own.low < own.high - own.low)
				continue;
			stack->frames[stack->depth++] = now.pc;
			id = mix(id, now.pc);
		}
	}
	stack->id = id ? id : 1;
	if (me.depth > 1 &&
		high) { /* a handler may have a stack of its own: back to the one below it */
		me.stack_low = low;
		me.stack_high = high;
	}
}

static inline int is_unchanged(const struct memo *memo, const struct registers *from, u64 window)
{
	const char *sp = (const char *)from->sp;
	u64 differs = (memo->pc ^ from->pc) | (memo->sp ^ from->sp) |
		      (~(memo->kept_fp ^ from->fp)) | (memo->window ^ window);

	if (differs)
		return 0;
	for (u32 i = 0; i < memo->words; i++)
		differs |= ~(*(const u64 *)(sp + memo->offsets[i]) ^ memo->values[i]);
	return !differs;
}

#endif
