/*
 * graph.c - a million blocks that point at each other in 500 MB of memory: what reachability.py
 * scans.
 *
 * usage: graph [--wait] [--lifetime S]      (--rate and --terms mean nothing here)
 *
 * Blocks are made in groups of a hundred, a tree each: every block is pointed at by an earlier one
 * of its group, and the first one by a table, but for one group in a hundred, which is lost. The
 * sizes are 16 to 1,000 bytes, the content is numbers. When all is made it says so and rests.
 */
#include "leaky.h"

#define BLOCKS 1000000
#define GROUP 100
#define LOST_GROUPS 100 /* every so many is lost */
#define CHILDREN 2      /* words for pointers at the start of a block */
#define MIN_BYTES (CHILDREN * sizeof(void *))
#define MAX_BYTES 1000

static void **table[BLOCKS / GROUP];

LEAKY_SITE static void **make_block(uint64_t *dice)
{
	size_t size, words;
	uint64_t *block;

	*dice = *dice * 6364136223846793005ULL + 1442695040888963407ULL;
	size = MIN_BYTES + (*dice >> 33) % (MAX_BYTES - MIN_BYTES);
	block = malloc(size);
	if (!block)
		leaky_fail("malloc");
	words = size / sizeof(uint64_t);
	for (size_t i = 0; i < words; i++)
		block[i] = i < CHILDREN ? 0 : i * 3;
	return (void **)block;
}

LEAKY_SITE static void make_group(void ***root, uint64_t *dice)
{
	void **group[GROUP];

	for (int i = 0; i < GROUP; i++) {
		group[i] = make_block(dice);
		if (i)
			group[(i - 1) / CHILDREN][(i - 1) % CHILDREN] = group[i];
	}
	*root = group[0];
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);
	uint64_t dice = 1;

	leaky_wait_for_release(&options);
	for (int i = 0; i < BLOCKS / GROUP; i++)
		make_group(&table[i], &dice);
	for (int i = 0; i < BLOCKS / GROUP; i += LOST_GROUPS)
		table[i] = NULL;
	puts("ready");
	for (;;)
		pause();
}
