/*
 * stacks.h - the record of call stacks, by content, and what has happened at each.
 *
 * No lock: a stack gets its number when it is first seen, and whoever meets it at the same moment
 * finds that one. A slot's totals are in an array of its own.
 */
#ifndef STACKS_H
#define STACKS_H

#include "walk.h"
#include <sched.h>

/* The number of a stack's totals, which it gets at its first sight; -1: no room. */
static __attribute__((noinline)) s64 find_or_add_stack(
	struct segment *segment, const struct stack *fresh)
{
	u32 *index = at(segment, segment->index_at), seen, mine = 0;
	struct stack *stacks = at(segment, segment->stacks_at);
	u64 mask = segment->index_slots - 1;

	for (u64 place = fresh->id & mask;; place = (place + 1) & mask) {
		seen = __atomic_load_n(&index[place], __ATOMIC_ACQUIRE);
		if (!seen) {
			if (!mine) {
				struct stack *row;

				if (load(&segment->stacks_seen) >= segment->max_stacks)
					return -1;
				mine = (u32)__atomic_add_fetch(
					&segment->stacks_seen, 1, __ATOMIC_ACQ_REL);
				if (mine > segment->max_stacks)
					return -1;
				row = &stacks[mine - 1];
				memcpy(row->frames, fresh->frames, 8 * fresh->depth);
				row->id = fresh->id;
				row->number = mine - 1;
				row->is_mapping = fresh->is_mapping;
				row->ending = fresh->ending;
				row->certain_frames = fresh->certain_frames;
				row->depth = fresh->depth;
				store(&row->window, fresh->window);
			}
			if (__atomic_compare_exchange_n(&index[place], &seen, mine, 0,
				    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
				return mine - 1;
		}
		if (stacks[seen - 1].id == fresh->id) {
			if (mine)
				store(&stacks[mine - 1].window, 0); /* a number for nobody */
			return seen - 1;
		}
	}
}

/* The number of the stack that called the exported function of this frame; -1: no room. */
static inline s64 find_caller(struct segment *segment, const u64 *frame)
{
	struct registers from = read_caller(frame);
	u64 window = segment->window;
	struct memo spare, *memo = &spare;
	struct stack fresh;

	if (me.depth == 1 && !is_shared()) {
		memo = &memos[me.slot_number][(from.pc ^ from.pc >> 4 ^ from.sp >> 5) % MEMOS];
		if (is_on_stack(from.sp) && is_unchanged(memo, &from, window))
			return (s64)memo->number;
		memo->window = 0;
	}
	walk(segment, &from, window, 0, memo, &fresh);
	s64 number = find_or_add_stack(segment, &fresh);
	if (number >= 0) {
		memo->number = (u64)number;
		memo->window = window;
	}
	return number;
}

static inline struct usage *begin_change(struct segment *segment, u64 number)
{
	struct usage *usages = at(segment, segment->usages_at);
	struct usage *usage = &usages[me.slot_number * segment->max_stacks + number];

	if (!is_shared()) {
		add_alone(&usage->version, 1);
		keep_order();
		return usage;
	}
	for (;; sched_yield()) {
		u64 version = load(&usage->version);
		if (!(version & 1) && change(&usage->version, version, version + 1))
			return usage;
	}
}

static inline void end_change(struct usage *usage)
{
	keep_order();
	if (is_shared())
		__atomic_fetch_add(&usage->version, 1, __ATOMIC_RELEASE);
	else
		add_alone(&usage->version, 1);
}

static inline u64 read_birth(struct segment *segment, const struct block *block)
{
	return segment->begin_ns + (block->birth_and_stack >> STACK_BITS << BIRTH_SHIFT);
}

static inline void account_allocated(struct segment *segment, const struct block *block)
{
	u64 number = block->birth_and_stack & ((1 << STACK_BITS) - 1);
	struct usage *usage = begin_change(segment, number);

	usage->allocated_bytes += block->size_bytes;
	usage->allocated_blocks++;
	usage->live_born_sum_ns += read_birth(segment, block);
	end_change(usage);
}

static inline void account_freed(struct segment *segment, const struct block *block)
{
	u64 number = block->birth_and_stack & ((1 << STACK_BITS) - 1);
	struct usage *usage = begin_change(segment, number);

	usage->freed_bytes += block->size_bytes;
	usage->freed_blocks++;
	usage->live_born_sum_ns -= read_birth(segment, block);
	end_change(usage);
}

#endif
