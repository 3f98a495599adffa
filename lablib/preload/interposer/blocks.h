/*
 * blocks.h - the record of the blocks that are live: 24 bytes each, in hash tables that grow.
 *
 * There are many tables, each with a lock, and neighbours in memory are in the same one: threads
 * that have arenas of their own hardly meet. A table that is full moves to a piece of twice the
 * size, and its old piece waits for the next one that needs it.
 */
#ifndef BLOCKS_H
#define BLOCKS_H

#include "stacks.h"
#include <sched.h>

#define GOLDEN 0x9E3779B97F4A7C15ULL
#define FIRST_BITS 6
#define REGION_BITS 20 /* so much memory goes into one table */
#define ROOM_AT_ONCE 256

static inline struct shard *find_shard(struct segment *segment, u64 address)
{
	return &segment->shards[(address >> REGION_BITS) * GOLDEN >> 56];
}

static inline void lock(struct shard *shard)
{
	for (int tries = 0; __atomic_exchange_n(&shard->is_locked, 1, __ATOMIC_ACQUIRE); tries++)
		while (__atomic_load_n(&shard->is_locked, __ATOMIC_RELAXED))
			if (++tries > 100)
				sched_yield();
	shard->version++;
	keep_order();
}

static inline void unlock(struct shard *shard)
{
	keep_order();
	shard->version++;
	__atomic_store_n(&shard->is_locked, 0, __ATOMIC_RELEASE);
}

static inline u64 find_home(const struct shard *shard, u64 address)
{
	return (address >> 4) * GOLDEN >> (64 - shard->bits);
}

/* The place of a block, or the free one where it would be. */
static inline struct block *find_place(const struct shard *shard, struct block *blocks, u64 address)
{
	u64 mask = (1ULL << shard->bits) - 1, place = find_home(shard, address);

	while (blocks[place].address && blocks[place].address != address)
		place = (place + 1) & mask;
	return &blocks[place];
}

static void lock_pieces(struct segment *segment)
{
	while (!change(&segment->pieces_are_locked, 0, 1))
		sched_yield();
}

/* Where a piece for 1 << bits blocks begins, all zero; 0: there is no more. */
static u64 take_piece(struct segment *segment, u32 bits)
{
	u64 size = sizeof(struct block) << bits, piece;

	lock_pieces(segment);
	piece = segment->free_pieces[bits];
	if (piece) {
		segment->free_pieces[bits] = *(u64 *)at(segment, piece);
	} else if (segment->pieces_end - segment->pieces_at - segment->pieces_used >= size) {
		piece = segment->pieces_at + segment->pieces_used;
		segment->pieces_used += size;
	}
	store(&segment->pieces_are_locked, 0);
	if (piece)
		memset(at(segment, piece), 0, size);
	return piece;
}

static void give_piece(struct segment *segment, u64 piece, u32 bits)
{
	lock_pieces(segment);
	*(u64 *)at(segment, piece) = segment->free_pieces[bits];
	segment->free_pieces[bits] = piece;
	store(&segment->pieces_are_locked, 0);
}

static __attribute__((noinline)) int grow(struct segment *segment, struct shard *shard)
{
	u32 old_bits = shard->bits, bits = shard->blocks_at ? old_bits + 1 : FIRST_BITS;
	u64 old_at = shard->blocks_at, piece = bits < PIECE_SIZES ? take_piece(segment, bits) : 0;
	struct block *old = at(segment, old_at), *blocks = at(segment, piece);

	if (!piece)
		return -1;
	shard->bits = bits;
	for (u64 i = 0; old_at && i < 1ULL << old_bits; i++)
		if (old[i].address)
			*find_place(shard, blocks, old[i].address) = old[i];
	shard->blocks_at = piece;
	if (old_at)
		give_piece(segment, old_at, old_bits);
	return 0;
}

static __attribute__((noinline)) int ask_for_room(struct segment *segment, struct shard *shard)
{
	u64 left = load(&segment->blocks_left), taken;

	do {
		if (!left)
			return -1;
		taken = left < ROOM_AT_ONCE ? left : ROOM_AT_ONCE;
	} while (!__atomic_compare_exchange_n(
		&segment->blocks_left, &left, left - taken, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
	shard->room += taken;
	return 0;
}

/* Put a block on record: 0. -1: there is no room. 1: one was at its address, now in `gone`. */
static inline int insert_block(
	struct segment *segment, const struct block *block, struct block *gone)
{
	struct shard *shard = find_shard(segment, block->address);
	struct block *place;
	int found = 0;

	lock(shard);
	if ((!shard->room && ask_for_room(segment, shard)) ||
		((!shard->blocks_at || shard->used >= 3ULL << shard->bits >> 2) &&
			grow(segment, shard))) {
		unlock(shard);
		return -1;
	}
	place = find_place(shard, at(segment, shard->blocks_at), block->address);
	if (place->address) {
		*gone = *place;
		found = 1;
	} else {
		shard->used++;
		shard->room--;
	}
	*place = *block;
	unlock(shard);
	return found;
}

/* Close the gap that a block leaves: those behind it that would have liked its place move up. */
static inline void close_gap(const struct shard *shard, struct block *blocks, u64 gap)
{
	u64 mask = (1ULL << shard->bits) - 1;

	for (u64 next = (gap + 1) & mask; blocks[next].address; next = (next + 1) & mask) {
		u64 home = find_home(shard, blocks[next].address);
		if (((next - home) & mask) >= ((next - gap) & mask)) {
			blocks[gap] = blocks[next];
			gap = next;
		}
	}
	blocks[gap].address = 0;
}

/* Take a block off the record: 1, and what it was; 0: it is not there. */
static inline int remove_block(struct segment *segment, u64 address, struct block *gone)
{
	struct shard *shard = find_shard(segment, address);
	struct block *blocks, *place;
	int found = 0;

	if (!load(&shard->blocks_at))
		return 0;
	lock(shard);
	blocks = at(segment, shard->blocks_at);
	place = find_place(shard, blocks, address);
	if (place->address) {
		*gone = *place;
		close_gap(shard, blocks, (u64)(place - blocks));
		shard->used--;
		shard->room++;
		found = 1;
	}
	if (shard->room > 4 * ROOM_AT_ONCE) {
		__atomic_fetch_add(&segment->blocks_left, 2 * ROOM_AT_ONCE, __ATOMIC_ACQ_REL);
		shard->room -= 2 * ROOM_AT_ONCE;
	}
	unlock(shard);
	return found;
}

#endif
