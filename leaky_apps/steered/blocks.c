/*
 * blocks.c - takes blocks from malloc and frees some, to see what the process keeps and why.
 *
 * usage: blocks [--lifetime S]
 *
 *   allocate COUNT BYTES   so many blocks of so many bytes, all written
 *   in_thread COUNT BYTES  the same by a thread, which has an arena of its own
 *   free_all               free all blocks, in the order that they were allocated
 *   free_all_but_last      the last one stays: it pins the heap below it
 *   free_every STEP        free the first and each STEP-th from there: holes
 *   trim                   ask malloc to give back what it can (malloc_trim)
 *   threshold BYTES        blocks from this size on are mappings of their own; then it stays so
 *   info                   what malloc counts (mallinfo2), over all of its arenas
 *
 * Try: ./blocks                               and type: allocate 10000 1000
 * Try: free_all_but_last                      in top, RES stays; the break has not moved
 * Try: free_all                               the break moves back
 * Try: allocate 1 200000, free_all, and both once more: mapped is 1, then 0. The threshold moved
 *
 * Nothing leaks: every block is remembered until it is freed.
 */
#include <malloc.h>

#include "threads.h"

#define MOST_BLOCKS (1 << 17)
#define MOST_BYTES ((uint64_t)256 << 20)

#ifdef __GLIBC_PREREQ
#define HAS_MALLINFO2 __GLIBC_PREREQ(2, 33)
#else
#define HAS_MALLINFO2 0
#endif

static struct {
	void *addresses[MOST_BLOCKS];
	size_t count;
	size_t wanted_count, wanted_bytes; /* of the command that runs */
} blocks;

/* Returns how many blocks are mappings of their own. */
static size_t count_mapped(void)
{
#if HAS_MALLINFO2
	return mallinfo2().hblks;
#else
	return (size_t)mallinfo().hblks;
#endif
}

static void answer_break(void)
{
	answer("live_blocks", blocks.count);
	answer_address("program_break", sbrk(0));
}

LEAKY_SITE static void allocate_blocks(void)
{
	for (size_t n = 0; n < blocks.wanted_count; n++) {
		char *block = malloc(blocks.wanted_bytes);

		if (!block) {
			refuse_errno("malloc");
			return;
		}
		memset(block, 1, blocks.wanted_bytes);
		blocks.addresses[blocks.count++] = block;
	}
}

static int start_allocating(const struct value *given)
{
	blocks.wanted_count = given[0].number;
	blocks.wanted_bytes = given[1].number;
	if (blocks.wanted_count > MOST_BLOCKS - blocks.count)
		refuse("there may be %d blocks, and there are %zu", MOST_BLOCKS, blocks.count);
	return !commands.is_refused;
}

static void answer_allocated(size_t mapped_before)
{
	answer("blocks", blocks.wanted_count);
	answer("bytes", blocks.wanted_count * blocks.wanted_bytes);
	if (!commands.is_refused) {
		answer_address("first", blocks.addresses[blocks.count - blocks.wanted_count]);
		answer_address("last", blocks.addresses[blocks.count - 1]);
	}
	answer("mapped", count_mapped() - mapped_before);
	answer_break();
}

static void allocate(const struct value *given)
{
	size_t mapped = count_mapped();

	if (!start_allocating(given))
		return;
	allocate_blocks();
	answer_allocated(mapped);
}

static void in_thread(const struct value *given)
{
	size_t mapped = count_mapped();

	if (!start_allocating(given))
		return;
	if (threads.count)
		run_in_thread(allocate_blocks);
	else
		start_thread(allocate_blocks, 0);
	answer_allocated(mapped);
}

/* Frees each `step`-th of the first `count` blocks, from the first on; the others close up.
 */
LEAKY_SITE static void free_blocks(size_t count, size_t step)
{
	size_t kept = 0;

	for (size_t n = 0; n < blocks.count; n++) {
		if (n < count && n % step == 0)
			free(blocks.addresses[n]);
		else
			blocks.addresses[kept++] = blocks.addresses[n];
	}
	answer("freed", blocks.count - kept);
	blocks.count = kept;
	answer_break();
}

static void free_all(const struct value *given)
{
	(void)given;
	free_blocks(blocks.count, 1);
}

static void free_all_but_last(const struct value *given)
{
	(void)given;
	free_blocks(blocks.count ? blocks.count - 1 : 0, 1);
}

static void free_every(const struct value *given)
{
	free_blocks(blocks.count, given[0].number);
}

/*
 * Besides the end of the heap it gives back whole free pages in the middle: the process keeps their
 * addresses, and the break stays where it is.
 */
LEAKY_SITE static void trim(const struct value *given)
{
	char *before = sbrk(0);

	(void)given;
	answer("has_released", (uint64_t)malloc_trim(0));
	answer("break_bytes", (uint64_t)(before - (char *)sbrk(0)));
	answer_break();
}

static void threshold(const struct value *given)
{
	if (!mallopt(M_MMAP_THRESHOLD, (int)given[0].number))
		refuse("malloc does not take %s as its threshold", given[0].word);
	answer("threshold_bytes", given[0].number);
}

/* What malloc keeps for a quick reuse (its tcache) it counts as used. */
static void info(const struct value *given)
{
	(void)given;
#if HAS_MALLINFO2
	struct mallinfo2 counted = mallinfo2();

	answer("arena_bytes", counted.arena);
	answer("used_bytes", counted.uordblks);
	answer("free_bytes", counted.fordblks);
	answer("free_chunks", counted.ordblks);
	answer("top_bytes", counted.keepcost);
	answer("mapped_blocks", counted.hblks);
	answer("mapped_bytes", counted.hblkhd);
	answer_break();
#else
	refuse("this C library has no mallinfo2");
#endif
}

static const struct command table[] = {
	{ "allocate", allocate,
		{ NUMBER("COUNT", 1, MOST_BLOCKS), NUMBER("BYTES", 1, MOST_BYTES) } },
	{ "in_thread", in_thread,
		{ NUMBER("COUNT", 1, MOST_BLOCKS), NUMBER("BYTES", 1, MOST_BYTES) } },
	{ "free_all", free_all, { { 0 } } },
	{ "free_all_but_last", free_all_but_last, { { 0 } } },
	{ "free_every", free_every, { NUMBER("STEP", 1, MOST_BLOCKS) } },
	{ "trim", trim, { { 0 } } },
	{ "threshold", threshold, { NUMBER("BYTES", 0, MOST_BYTES) } },
	{ "info", info, { { 0 } } },
	{ 0 },
};

int main(int argc, char **argv)
{
	start_commands(argc, argv);
	serve_commands(argv[0], table);
	end_all_threads();
	return 0;
}
