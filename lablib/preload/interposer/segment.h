/*
 * segment.h - the memory that the traced program and the lab share: what is counted, and for whom.
 *
 * The lab makes it, writes its first part, and reads all of it while the program runs; layout.py
 * has the same fields, and a test holds the two together. Places in it are offsets: it lies
 * elsewhere in each process.
 */
#ifndef SEGMENT_H
#define SEGMENT_H

#include <stddef.h>
#include <stdint.h>

typedef uint64_t u64;
typedef int64_t s64;
typedef uint32_t u32;

#define SEGMENT_VERSION 1
#define MAX_FRAMES 64
#define OWNED_SLOTS 32 /* threads that have totals of their own; the others share a slot */
#define SLOTS (OWNED_SLOTS + 1)
#define SHARDS 256
#define PIECE_SIZES 40

enum window_state { CLOSED, OPEN, FREES_ONLY };

/* Order and names are repeated in layout.py as COUNTERS. */
enum counter {
	FREES_FROM_BEFORE,
	RETURNS_FROM_BEFORE,
	FAILED_ALLOCATIONS,
	FAILED_MAPPINGS,
	LOST_BLOCKS_FULL,
	LOST_STACKS_FULL,
	LOST_THREADS_FULL,
	LOST_INTERRUPTED,
	LOST_UNREADABLE,
	LOST_RACED,
	LOST_MAPPINGS_FULL,
	COUNTERS_LEN,
};

enum ending { REACHED_TOP, IS_CUT, IS_TOO_DEEP };
enum mapping_kind { MAP, UNMAP, UNMAP_FAILED };
enum mapping_class { MAPPING, THREAD_STACK, ARENA, FILE_MAPPING };

/* A call stack; `window` is written last: 0 says that the rest is not there yet. */
struct stack {
	u64 id; /* of its content */
	u64 number;
	u64 process;
	u64 window;
	u64 is_mapping;
	u64 ending;
	u64 certain_frames; /* before a frame pointer was trusted in code without rules; 0: all */
	u64 depth;
	u64 frames[MAX_FRAMES];
};

/* What one slot's threads have done at one stack. Odd versions: it is being changed. */
struct usage {
	u64 allocated_bytes;
	u64 allocated_blocks;
	u64 freed_bytes;
	u64 freed_blocks;
	u64 live_born_sum_ns;
	u64 unused[2];
	u64 version;
};

/* One thread's, or shared by those that came when all others were taken. */
struct slot {
	u64 owner; /* thread id, 0: free */
	u64 is_recording;
	u64 counters[COUNTERS_LEN];
	u64 padding[3];
};

struct block {
	u64 address; /* 0: nothing is here */
	u64 size_bytes;
	u64 birth_and_stack; /* units of BIRTH_NS since begin_ns << STACK_BITS | stack number */
};

#define STACK_BITS 20
#define BIRTH_SHIFT 10

/* A part of the record of live blocks: an open hash table that grows. Odd versions: as above. */
struct shard {
	u32 is_locked;
	u32 bits; /* it has 1 << bits places, if any */
	u64 version;
	u64 blocks_at; /* 0: none yet */
	u64 used;
	u64 room; /* blocks that it may take before it has to ask for more */
	u64 padding[3];
};

struct mapping_event {
	u64 sequence; /* 1 + its number, written last */
	u64 kind;
	u64 mapping_class;
	u64 thread;
	u64 address;
	u64 length_bytes;
	u64 stack_id;
	u64 time_ns;
};

struct unwind_place {
	u64 bias;
	u32 first_row;
	u32 rows;
};

struct segment {
	/* Written by the lab. */
	u64 version;
	u64 state;
	u64 window; /* from 1 */
	u64 tracer;
	u64 begin_ns;
	u64 max_stacks;
	u64 index_slots; /* a power of two */
	u64 unwind_pages;
	u64 page_numbers_at;
	u64 places_at;
	u64 rows_at;
	u64 index_at;
	u64 stacks_at;
	u64 usages_at;
	u64 events_at;
	u64 events_len; /* a power of two */
	u64 pieces_at;
	u64 pieces_end;
	u64 size_bytes;
	u64 events_taken;
	/* Written by the program. */
	u64 process; /* its id, once it takes part */
	u64 stacks_seen;
	u64 events_seen;
	u64 blocks_left; /* how many more may live */
	u64 pieces_used;
	u64 pieces_are_locked;
	u64 free_pieces[PIECE_SIZES];
	u64 padding[6];
	struct slot slots[SLOTS];
	struct shard shards[SHARDS];
};

#endif
