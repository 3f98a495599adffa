/*
 * mappings.h - what the program maps by itself, reported in order: the lab keeps the ledger.
 *
 * The C library's own mappings can't be seen from here. Two of them matter: a thread's stack,
 * which is reported by the thread when it begins, and an arena of malloc's, by the first block in
 * it.
 */
#ifndef MAPPINGS_H
#define MAPPINGS_H

#include "record.h"
#include <pthread.h>
#include <sys/mman.h>

#define STARTS 1024
#define ARENAS 1024
#define ARENA_BYTES (64ULL << 20) /* HEAP_MAX_SIZE of glibc on 64 bits; aligned to itself */
#define NON_MAIN_ARENA 4          /* in the lowest bits of a chunk's size */

/* What a new thread takes over from the one that made it. */
struct start {
	u64 is_taken;
	void *(*run)(void *);
	void *argument;
	u64 stack_bytes;
	u64 stack_id;
};

static struct start starts[STARTS];
static u64 arenas[ARENAS];    /* that have been reported; the lab drops what comes twice */
static struct span allocator; /* where the code of malloc lies, if it is not libc's */

static void report(struct segment *segment, u64 kind, u64 mapping_class, u64 address,
	u64 length_bytes, u64 stack_id)
{
	struct mapping_event *events = at(segment, segment->events_at), *event;
	u64 number = load(&segment->events_seen);
	struct timespec now;

	do {
		if (number - load(&segment->events_taken) >= segment->events_len) {
			count(LOST_MAPPINGS_FULL);
			return;
		}
	} while (!__atomic_compare_exchange_n(
		&segment->events_seen, &number, number + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
	clock_gettime(CLOCK_MONOTONIC, &now);
	event = &events[number & (segment->events_len - 1)];
	event->kind = kind;
	event->mapping_class = mapping_class;
	event->thread = segment->slots[me.slot_number].owner;
	event->address = address;
	event->length_bytes = length_bytes;
	event->stack_id = stack_id;
	event->time_ns = (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec;
	store(&event->sequence, number + 1);
}

/* The id of the stack that called the exported function of this frame; 0: no room. */
static u64 find_mapper(struct segment *segment, const u64 *frame)
{
	struct registers from = read_caller(frame);
	struct memo memo;
	struct stack fresh;

	walk(segment, &from, segment->window, 1, &memo, &fresh);
	if (find_or_add_stack(segment, &fresh) < 0) {
		count(LOST_STACKS_FULL);
		return 0;
	}
	return fresh.id;
}

static u64 classify(int flags, const u64 *frame)
{
	if (frame[1] - allocator.low < allocator.high - allocator.low)
		return ARENA;
	if (flags & MAP_STACK)
		return THREAD_STACK;
	return flags & MAP_ANONYMOUS ? MAPPING : FILE_MAPPING;
}

static void note_mapped(void *address, size_t length, int flags, const u64 *frame)
{
	struct segment *segment = begin_recording();
	u64 id;

	if (!segment)
		return;
	if (load(&segment->state) == OPEN) {
		if (address == MAP_FAILED)
			count(FAILED_MAPPINGS);
		else if ((id = find_mapper(segment, frame)))
			report(segment, MAP, classify(flags, frame), (u64)address, length, id);
	}
	end_recording(segment);
}

static void note_unmapped(u64 kind, void *address, size_t length)
{
	struct segment *segment = begin_recording();

	if (!segment)
		return;
	report(segment, kind, MAPPING, (u64)address, length, 0);
	end_recording(segment);
}

/* The first block of an arena tells of it: its chunk says that it is none of the main one's. */
static void note_arena(struct segment *segment, u64 block, const u64 *frame)
{
	u64 arena = block & -ARENA_BYTES, id;

	u64 *seen = &arenas[arena / ARENA_BYTES % ARENAS];

	if (allocator.high || !(((u64 *)block)[-1] & NON_MAIN_ARENA) || *seen == arena)
		return;
	*seen = arena;
	if ((id = find_mapper(segment, frame)))
		report(segment, MAP, ARENA, arena, ARENA_BYTES, id);
}

/* In the new thread: its record lies at the upper end of its stack. */
static void *run_thread(void *argument)
{
	struct start *slot = argument, start = *slot;
	struct segment *segment;
	u64 end = ((u64)__builtin_thread_pointer() | ((1 << PAGE_BITS) - 1)) + 1;

	slot->argument = NULL;
	store(&slot->is_taken, 0);
	if (start.stack_id && (segment = begin_recording())) {
		report(segment, MAP, THREAD_STACK, end - start.stack_bytes, start.stack_bytes,
			start.stack_id);
		end_recording(segment);
	}
	return start.run(start.argument);
}

/* How much pthread_create will map; 0: nothing, the program gives it a stack. */
static u64 measure_stack(const pthread_attr_t *attributes)
{
	pthread_attr_t defaults;
	size_t size = 0, guard = 0, given = 0, page = 1 << PAGE_BITS;
	void *address = NULL;

	if (!attributes) {
		if (pthread_getattr_default_np(&defaults))
			return 0;
		pthread_attr_getstacksize(&defaults, &size);
		pthread_attr_getguardsize(&defaults, &guard);
		pthread_attr_destroy(&defaults);
	} else {
		pthread_attr_getstacksize(attributes, &size);
		pthread_attr_getguardsize(attributes, &guard);
		pthread_attr_getstack(attributes, &address, &given);
		if ((u64)address + given) /* as an end that nobody has set is 0 */
			return 0;
	}
	return ((size + page - 1) & -page) + ((guard + page - 1) & -page);
}

#endif
