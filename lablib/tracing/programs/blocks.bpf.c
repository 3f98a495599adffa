/*
 * blocks.bpf.c - the record of the blocks that are live.
 *
 * It has two levels. In the first, an array, each address has one place, and the first block that
 * comes takes it: to put it there and to take it away costs three atomic instructions. What finds
 * its place taken goes to the second, the kernel's hash table, which costs several times as much.
 * Where forks are followed an address does not tell a block, and all of them go there.
 */

struct block_key {
	u64 address;
	u64 process; /* its number */
};

struct block {
	u64 size_bytes;
	u64 born_ns;
	u64 stack_number;
};

enum { EMPTY, BEING_FILLED }; /* addresses of a place at which no block can be */

/* Where the blocks go whose address leads here: the first into it, the others to the hash table. */
struct place {
	u64 address; /* of the block that is here, or one of the above */
	struct block block;
	u64 others; /* how many are in the hash table: if none, there is nothing to look for */
};

BPF_TABLE("array", u32, struct place, places, MAX_PLACES);
/* Of its key and a block, 40 bytes, the kernel makes 96. */
BPF_F_TABLE("hash", struct block_key, struct block, blocks, MAX_BLOCKS, BPF_F_NO_PREALLOC);

static __always_inline struct place *find_place(struct session *now, u64 address)
{
	u32 index = mix(0, address) >> 32 & (MAX_PLACES - 1);
	return now->follows_forks ? NULL : places.lookup(&index);
}

/* Only one of two threads that want the same succeeds; the other gets -1. */
static __always_inline int change_address(struct place *place, u64 from, u64 to)
{
	return __sync_val_compare_and_swap(&place->address, from, to) == from ? 0 : -1;
}

/* Put a block on record; -1: there is no room, or one with its address. */
static __always_inline int insert_block(
	struct session *now, struct block_key *key, struct block *block)
{
	struct place *place = find_place(now, key->address);

	if (!place)
		return blocks.insert(key, block);
	if (place->address == key->address)
		return -1;
	if (place->address == EMPTY && !(place->others && blocks.lookup(key)) &&
		!change_address(place, EMPTY, BEING_FILLED)) {
		place->block = *block;
		return change_address(place, BEING_FILLED, key->address);
	}
	__sync_fetch_and_add(&place->others, 1); /* first: who sees none looks no further */
	if (!blocks.insert(key, block))
		return 0;
	__sync_fetch_and_add(&place->others, -1);
	return -1;
}

/* Put a block on record for the one with its address, and say which that was; -1: there is none. */
static __always_inline int replace_block(
	struct session *now, struct block_key *key, struct block *block, struct block *gone)
{
	struct place *place = find_place(now, key->address);
	struct block *stale;

	if (place && place->address == key->address)
		stale = &place->block;
	else
		stale = blocks.lookup(key);
	if (!stale)
		return -1;
	*gone = *stale;
	*stale = *block;
	return 0;
}

/* Take a block off the record; 0 if it was there, and then what it was. */
static __always_inline int remove_block(
	struct session *now, struct block_key *key, struct block *gone)
{
	struct place *place = find_place(now, key->address);
	struct block *block;

	if (key->address <= BEING_FILLED)
		return -1;
	if (place && place->address == key->address) {
		*gone = place->block;
		return change_address(place, key->address, EMPTY);
	}
	if (place && !place->others)
		return -1;
	block = blocks.lookup(key);
	if (!block)
		return -1;
	*gone = *block;
	if (blocks.delete(key))
		return -1;
	if (place)
		__sync_fetch_and_add(&place->others, -1);
	return 0;
}
