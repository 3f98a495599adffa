/*
 * record.h - what becomes of a block: on record when it is allocated, off when it is freed.
 *
 * A signal handler that comes while its thread is recording finds locks taken and totals half
 * written. So what it does is noted, and done when the thread is through.
 */
#ifndef RECORD_H
#define RECORD_H

#include "blocks.h"

static inline int is_interrupting(void)
{
	return me.depth > 1;
}

static inline int postpone(const struct block *block, u64 is_free)
{
	if (me.pending_len == MAX_PENDING) {
		count(LOST_INTERRUPTED);
		return -1;
	}
	me.pending[me.pending_len].block = *block;
	me.pending[me.pending_len].block.address = ~block->address;
	me.pending[me.pending_len].is_free = is_free;
	keep_order();
	me.pending_len++;
	return 0;
}

static void put_on_record(struct segment *segment, const struct block *block)
{
	struct block gone;
	int outcome = insert_block(segment, block, &gone);

	if (outcome < 0) {
		count(LOST_BLOCKS_FULL);
		return;
	}
	if (outcome) { /* that one must be gone: its free was not seen */
		count(LOST_RACED);
		account_freed(segment, &gone);
	}
	account_allocated(segment, block);
}

static inline void count_free_from_before(struct segment *segment)
{
	if (load(&segment->state) == OPEN)
		count(FREES_FROM_BEFORE);
}

static void take_off_record(struct segment *segment, u64 address)
{
	struct block gone;

	if (remove_block(segment, address, &gone))
		account_freed(segment, &gone);
	else
		count_free_from_before(segment);
}

static __attribute__((noinline)) void do_pending(struct segment *segment)
{
	u64 done = 0;

	do { /* more may come meanwhile */
		for (; done < me.pending_len; done++) {
			struct block block = me.pending[done].block;
			block.address = ~block.address;
			if (me.pending[done].is_free)
				take_off_record(segment, block.address);
			else
				put_on_record(segment, &block);
			keep_order();
		}
	} while (!change(&me.pending_len, done, 0));
}

static void end_recording(struct segment *segment)
{
	if (me.depth == 1) {
		if (__builtin_expect(me.pending_len != 0, 0))
			do_pending(segment);
		if (is_shared())
			__atomic_fetch_sub(&me.slot->is_recording, 1, __ATOMIC_SEQ_CST);
		else
			store(&me.slot->is_recording, 0);
	}
	keep_order();
	me.depth--;
	keep_order();
	/* One that has just come, and found us still at it. */
	if (__builtin_expect(me.pending_len && !me.depth, 0) && begin_recording())
		end_recording(segment);
}

static void note_arena(struct segment *segment, u64 block, const u64 *frame);

/* `frame` is that of the exported function, whose caller's stack it is. */
static inline void record_allocation(
	struct segment *segment, void *address, size_t size, const u64 *frame)
{
	s64 number = find_caller(segment, frame);
	u64 age = read_clock() - segment->begin_ns;
	struct block block = { (u64)address, size, 0 };

	me.last_allocated = ~block.address;
	note_arena(segment, block.address, frame);
	if (number < 0) {
		count(LOST_STACKS_FULL);
		return;
	}
	block.birth_and_stack = age >> BIRTH_SHIFT << STACK_BITS | (u64)number;
	if (is_interrupting())
		postpone(&block, 0);
	else
		put_on_record(segment, &block);
}

static inline void note_allocation(void *address, size_t size, const u64 *frame)
{
	struct segment *segment = begin_recording();

	if (!segment)
		return;
	if (load(&segment->state) == OPEN) {
		if (address)
			record_allocation(segment, address, size, frame);
		else
			count(FAILED_ALLOCATIONS);
	}
	end_recording(segment);
}

static inline void note_free(void *address)
{
	struct segment *segment = begin_recording();
	struct block block = { (u64)address, 0, 0 };

	if (!segment)
		return;
	if (~block.address == me.deleted)
		me.deleted = 0;
	else if (is_interrupting())
		postpone(&block, 1);
	else
		take_off_record(segment, block.address);
	end_recording(segment);
}

/* What realloc was given: off the record before another thread may get its address. */
struct given {
	struct block block;
	int is_known;
	int is_postponed;
};

static inline void note_realloc(void *address, struct given *given)
{
	struct segment *segment = address ? begin_recording() : NULL;

	given->is_known = given->is_postponed = 0;
	if (!segment)
		return;
	if (is_interrupting()) {
		struct block block = { (u64)address, 0, 0 };
		given->is_postponed = !postpone(&block, 1);
	} else {
		given->is_known = remove_block(segment, (u64)address, &given->block);
	}
	end_recording(segment);
}

/* realloc has returned: `result` NULL has left the old block, unless it was asked for nothing. */
static inline void note_realloced(
	void *old, void *result, size_t size, struct given *given, const u64 *frame)
{
	struct segment *segment = begin_recording();
	int was_freed = result || (old && !size);

	if (!segment)
		return;
	if (given->is_known && was_freed) {
		account_freed(segment, &given->block);
	} else if (given->is_known) {
		struct block gone;
		if (insert_block(segment, &given->block, &gone))
			count(LOST_BLOCKS_FULL);
	} else if (given->is_postponed && !was_freed) {
		count(LOST_INTERRUPTED); /* it is about to be taken for freed */
	} else if (old && was_freed && !given->is_postponed) {
		count_free_from_before(segment);
	}
	if (!was_freed && load(&segment->state) == OPEN)
		count(FAILED_ALLOCATIONS);
	if (result && (load(&segment->state) == OPEN || given->is_known))
		record_allocation(segment, result, size, frame);
	end_recording(segment);
}

#endif
