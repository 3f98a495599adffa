/*
 * threads.h - what the interposer keeps for each thread, and the thread's slot in the segment.
 *
 * A thread that has a slot of its own counts without a lock: nobody else writes there. A signal
 * handler may come at any instruction; what it allocates while its thread is recording waits in
 * `pending` until that is done.
 *
 * The lab looks for what still points at a block, here too: so an address that is kept is kept
 * with all its bits turned.
 */
#ifndef THREADS_H
#define THREADS_H

#include "segment.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAX_PENDING 32

/* Where the program's memory is shared with the lab; a child of fork has none. */
struct gate {
	struct segment *segment;
};

/* Something that a signal handler did while its thread was recording. */
struct pending {
	struct block block;
	u64 is_free;
};

struct me {
	struct slot *slot;
	u64 slot_number;
	u64 depth; /* recordings under way: a second one is a signal handler's */
	u64 stack_low, stack_high;
	u64 last_allocated;
	u64 deleted; /* operator delete has accounted for it */
	u64 pending_len;
	struct pending pending[MAX_PENDING];
};

static const struct gate nothing;
static const struct gate *gate = &nothing;
static __thread struct me me;

static inline void keep_order(void)
{
	__asm__ volatile("" ::: "memory");
}

static inline u64 load(const u64 *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline void store(u64 *word, u64 value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static inline int change(u64 *word, u64 from, u64 to)
{
	return __atomic_compare_exchange_n(word, &from, to, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* In one instruction where nobody else writes: a signal handler comes before it or after it. */
static inline void add_alone(u64 *word, u64 value)
{
#if defined(__x86_64__)
	__asm__ volatile("addq %1, %0" : "+m"(*word) : "er"(value));
#else
	__atomic_fetch_add(word, value, __ATOMIC_RELAXED);
#endif
}

static inline void *at(struct segment *segment, u64 offset)
{
	return (char *)segment + offset;
}

static inline int is_shared(void)
{
	return me.slot_number == OWNED_SLOTS;
}

static inline void count(enum counter which)
{
	if (is_shared())
		__atomic_fetch_add(&me.slot->counters[which], 1, __ATOMIC_RELAXED);
	else
		add_alone(&me.slot->counters[which], 1);
}

/* To some milliseconds, and never later than it is. */
static inline u64 read_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec;
}

static int has_ended(struct segment *segment, u64 thread)
{
	return syscall(SYS_tgkill, (pid_t)segment->process, (pid_t)thread, 0) && errno == ESRCH;
}

static void forget_stacks(u64 slot_number);

/* The first free slot, or that of a thread that is gone, or the one for all others. */
static __attribute__((noinline)) void take_slot(struct segment *segment)
{
	u64 self = (u64)syscall(SYS_gettid), owner;
	int kept_errno = errno;

	me.slot_number = OWNED_SLOTS;
	for (u64 try = 0; try < 2 * OWNED_SLOTS && is_shared(); try ++) {
		struct slot *slot = &segment->slots[try % OWNED_SLOTS];

		owner = load(&slot->owner);
		if (owner && owner != self && (try < OWNED_SLOTS || !has_ended(segment, owner)))
			continue;
		if (change(&slot->owner, owner, self)) {
			me.slot_number =
			try
				% OWNED_SLOTS;
			store(&slot->is_recording, 0);
		}
	}
	me.slot = &segment->slots[me.slot_number];
	forget_stacks(me.slot_number);
	errno = kept_errno;
}

/* Begin to record; NULL where nothing counts. Each that is not NULL needs an `end_recording`. */
static inline struct segment *begin_recording(void)
{
	struct segment *segment = gate->segment;

	if (!segment || load(&segment->state) == CLOSED)
		return NULL;
	if (__builtin_expect(!me.slot, 0))
		take_slot(segment);
	if (!me.depth++) {
		if (is_shared())
			__atomic_fetch_add(&me.slot->is_recording, 1, __ATOMIC_SEQ_CST);
		else
			store(&me.slot->is_recording, 1);
	}
	keep_order(); /* who closes the window waits for us, if it does not see us too late */
	if (__builtin_expect(load(&segment->state) != CLOSED, 1))
		return segment;
	if (!--me.depth) {
		if (is_shared())
			__atomic_fetch_sub(&me.slot->is_recording, 1, __ATOMIC_SEQ_CST);
		else
			store(&me.slot->is_recording, 0);
	}
	return NULL;
}

#endif
