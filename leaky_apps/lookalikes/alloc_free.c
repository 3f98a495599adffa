/*
 * alloc_free.c - the control: allocates a block and frees it again, term by term.
 *
 * usage: alloc_free [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Try: ./alloc_free --rate 1000 & ./lab trace --pid $! --seconds 5     nothing may be found
 */
#include "leaky.h"

#ifndef BLOCK_BYTES
#define BLOCK_BYTES 984 /* 123 * 8: a size of its own, easy to find in a trace */
#endif

LEAKY_SITE static void use_block(uint64_t n)
{
	volatile uint64_t *block = malloc(BLOCK_BYTES);

	if (!block)
		leaky_fail("malloc");
	*block = n;
	free((void *)block);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, use_block);
	puts("done");
	return 0;
}
