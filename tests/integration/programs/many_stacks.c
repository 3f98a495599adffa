/* many_stacks.c - leaks 1,000 bytes from each of 8,192 distinct call stacks: 13 choices of two. */
#include "leaky.h"

static void descend(unsigned path, int depth);

__attribute__((noinline)) static void left(unsigned path, int depth)
{
	descend(path >> 1, depth - 1);
	__asm__ volatile("");
}

__attribute__((noinline)) static void right(unsigned path, int depth)
{
	descend(path >> 1, depth - 1);
	__asm__ volatile("");
}

__attribute__((noinline)) static void descend(unsigned path, int depth)
{
	if (depth == 0) {
		if (!malloc(1000)) /* leaks */
			leaky_fail("malloc");
	} else if (path & 1) {
		left(path, depth);
	} else {
		right(path, depth);
	}
	__asm__ volatile("");
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	for (unsigned path = 0; path < 8192; path++)
		descend(path, 13);
	return 0;
}
